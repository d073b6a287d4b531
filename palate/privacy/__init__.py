"""Privacy: models with a proven bound on what they say of any one user, and users who leave trained models."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palate.privacy.forgetting import forget

__all__ = ["forget"]


def __getattr__(name: str) -> object:
    """Import what is asked for: recipes are loaded by those alone who forget."""
    if name == "forget":
        from palate.privacy.forgetting import forget

        return forget
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
