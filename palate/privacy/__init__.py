"""Privacy: models with a proven bound on what they say of any one user, users who leave them, and attacks."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palate.privacy.auditing import audit
    from palate.privacy.forgetting import forget

__all__ = ["audit", "forget"]


def __getattr__(name: str) -> object:
    """Import what is asked for: recipes are loaded by those alone who forget."""
    if name == "forget":
        from palate.privacy.forgetting import forget

        return forget
    if name == "audit":
        from palate.privacy.auditing import audit

        return audit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
