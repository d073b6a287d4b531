"""Raw things of items, text, attributes, pictures and sounds, become unit vectors."""
