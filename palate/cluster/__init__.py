"""The same work on Ray: users are divided among workers, sums over users travel."""

from palate.cluster.executor import RayExecutor
from palate.cluster.parts import LogParts, read_parts

__all__ = ["LogParts", "RayExecutor", "read_parts"]
