"""How good the rankings are, and for which training time."""
