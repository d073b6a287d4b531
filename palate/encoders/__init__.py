"""The content of items, text, attributes, pictures and sounds, as unit vectors."""
