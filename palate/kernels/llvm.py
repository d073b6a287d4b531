"""Names for the objects of numba and llvmlite, which have no types that a checker could read."""

from typing import Any, TypeAlias

Context: TypeAlias = Any  # of numba's typing, or of the target
Builder: TypeAlias = Any  # writes instructions
Kind: TypeAlias = Any  # type of a value, or signature of a function
Value: TypeAlias = Any  # number, register, pointer or array in the code that is written
