"""SQL conditions over attributes of items: syntax, functions, values, cost; pure."""
