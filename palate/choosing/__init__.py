"""Choosing: a log, a time and a latency in; a recipe, its model and the reasons out."""
