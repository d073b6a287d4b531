"""Recipes and the models they fit."""
