"""Other libraries: how they are run, and models beside theirs."""
