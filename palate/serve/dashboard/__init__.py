"""The page of the service: what it answers and why, on the server, with a little script."""
