"""Small pieces shared by the kernels: bits, exp, random numbers."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from palate.arrays import Floats
from palate.kernels.compile import compiled, emitted, inlined


@emitted
def float_of_bits(typing_context: Any, bits: Any) -> Any:
    """Read 32 bits as a float: an int32 in, a float32 out."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@inlined
def exp(x: np.float32) -> np.float32:
    """e^x to 5e-7 relative, x clamped to [-80, 88], far from the slow denormals; no branch, so loops vectorise.

    e^x = 2^n e^f: n goes into the exponent bits, e^f for |f| <= ln(2)/2 is a Taylor polynomial of degree 6;
    ln 2 is taken off in two parts (Cody and Waite 1980) to keep the bits of f.
    """
    z = min(max(x, np.float32(-80.0)), np.float32(88.0))
    n = np.floor(z * np.float32(1.4426950408889634) + np.float32(0.5))
    f = (z - n * np.float32(0.693145751953125)) - n * np.float32(1.428606765330187e-06)
    power = np.float32(1 / 720)
    power = power * f + np.float32(1 / 120)
    power = power * f + np.float32(1 / 24)
    power = power * f + np.float32(1 / 6)
    power = power * f + np.float32(0.5)
    power = power * f + np.float32(1.0)
    power = power * f + np.float32(1.0)
    return power * float_of_bits((np.int32(n) + np.int32(127)) << np.int32(23))  # type: ignore[no-any-return]


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
