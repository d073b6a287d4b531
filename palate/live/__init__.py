"""What serves: the catalogue in memory, conditions on it, and answers from the histories of a store."""
