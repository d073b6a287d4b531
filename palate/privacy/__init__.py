"""Models with a proven bound on what they say of any one user."""
