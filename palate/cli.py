"""The command line: one command a public verb."""


def main() -> None:
    """Run the command line."""
