"""Logs, catalogues, splits and rankings: the data that models read and write."""
