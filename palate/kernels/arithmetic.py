"""Small pieces shared by the kernels: bits, exp, random numbers."""

import numpy as np
from numba import types

from palate.arrays import Floats
from palate.kernels import simd
from palate.kernels.compile import compiled, emitted, inlined
from palate.kernels.llvm import Builder, Context, Kind, Value


@emitted
def exp(typing_context: Context, x: Value) -> Value:
    """Return e^x as `simd.exp` does, of one float32; loops vectorise."""

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        return simd.exp(simd.SimdVector(builder, arguments[0])).value

    return types.float32(types.float32), generate


@inlined
def mix(value: np.uint64) -> np.uint64:
    """Scramble 64 bits (finaliser of SplitMix64, Steele et al. 2014): each input bit moves every output bit.

    Of a key plus a counter it makes a counter-based stream of random numbers.
    """
    z = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def exp_all(x: Floats) -> Floats:
    """`exp` of each element of a vector."""
    result = np.empty_like(x)
    for n in range(len(x)):
        result[n] = exp(x[n])
    return result
