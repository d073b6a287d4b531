"""Gaussian noise in whole numbers, from a cryptographic generator.

A value in whole numbers plus round(g), g ~ N(0, σ²), is round(value + g): the Gaussian mechanism with nothing but a
rounding behind it, so that all that is proven of it holds, and no low bits of floats are there to be read
(Mironov 2012). The draws come from tables: 128 bits of the operating system's generator against sums of
probabilities. Out to 6 σ a probability is right to 1e-13 of itself, out to 10 σ to 5e-12 (rounding to 2^-128), beyond
to 2% or better: a fit of 10 million draws is as private as with true Gaussians but for 1e-5 of ε, which is set aside,
and for 1e-10 of δ, at any ε up to 30.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

import numpy as np

from palate.arrays import Doubles, Hashes, Longs
from palate.errors import check
from palate.kernels.lattice import place_words, sum_up

FAR = 13.0  # standard deviations: 2^-125 of the draws are beyond
ROOM = 1 - 2.0**-40  # all probabilities of a table together; a word above it is drawn again
BLOCK = 1 << 18  # draws at once


class Source(Protocol):
    """Where random bytes come from."""

    def bytes(self, size: int) -> bytes:
        """Return that many."""


class SystemSource:
    """The cryptographic generator of the operating system."""

    def bytes(self, size: int) -> bytes:
        """Return that many."""
        return os.urandom(size)


@dataclass
class SeededSource:
    """Bytes that a seed fixes: for tests alone, since a seed that is known takes the noise away."""

    seed: int
    block: count[int] = field(default_factory=count)

    def bytes(self, size: int) -> bytes:
        """Return that many; another block at each call."""
        return hashlib.shake_128(f"{self.seed}:{next(self.block)}".encode()).digest(size)


def rounded_gaussian(sigma: float, size: int, source: Source) -> Longs:
    """Return draws of round(g), g ~ N(0, sigma²), (size,); sigma 1,000 or more, at which a cell is narrow."""
    check(1e3 <= sigma <= 2**24, "sigma", sigma, "must be from 1,000 to 2^24 steps of the lattice")
    high, low = table(sigma)
    out = np.empty(size, np.int64)
    for first in range(0, size, BLOCK):
        draw(out[first : first + BLOCK], high, low, source)
    return out


def draw(out: Longs, high: Hashes, low: Hashes, source: Source) -> None:
    """Fill `out` by a table; the lowest bit of each pair of words is the sign, and is not compared."""
    left = np.arange(len(out))
    while len(left):
        words = np.frombuffer(source.bytes(16 * len(left)), np.uint64).copy()
        negative = (words[1::2] & np.uint64(1)).astype(np.bool_)
        words[1::2] >>= np.uint64(1)
        words[1::2] <<= np.uint64(1)
        found = np.empty(len(left), np.int64)
        place_words(words, high, low, found)
        out[left] = np.where(negative, 1 - found, found - 1)
        left = left[found == 0]  # beyond the table's sum


def table(sigma: float) -> tuple[Hashes, Hashes]:
    """P(|round(g)| >= k) for k from 0 to FAR σ, as upper and lower words of 128-bit fractions."""
    share = probabilities(sigma)
    share[1:] *= 2
    high, low = np.zeros(len(share), np.uint64), np.zeros(len(share), np.uint64)
    fits = sum_up(share * ROOM, high, low)
    assert fits
    return high, low


def probabilities(sigma: float) -> Doubles:
    """P(round(g) = k) for k from 0 to FAR σ.

    The density at k, and the next two terms of its Taylor series over the cell around it: the rest is below 1e-16 of
    the whole for sigma >= 1,000.
    """
    z = np.arange(int(FAR * sigma) + 1) / sigma
    square, h2 = z * z, 1 / sigma**2
    series = 1 + (square - 1) * h2 / 24 + (square * square - 6 * square + 3) * h2 * h2 / 1920
    return np.asarray(np.exp(-0.5 * square) * series / (sigma * np.sqrt(2 * np.pi)), np.float64)
