"""Descriptions of items that state only what the catalogue says."""
