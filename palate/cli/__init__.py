"""The command line: one command a public verb."""

from palate.cli.commands import app, main

__all__ = ["app", "main"]
