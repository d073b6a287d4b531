"""Arithmetic on whole vector registers, for loops that the compiler would leave scalar: operators emit the code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from palate.kernels.llvm import Builder, Kind, Value

WIDTH = 16  # floats of one register, or of two where registers are small
FLOAT, BIT, I32, I64 = ir.FloatType(), ir.IntType(1), ir.IntType(32), ir.IntType(64)
FUSED = ("contract",)  # multiply and add in one instruction
ANY_ORDER = ("reassoc",)  # of the lanes that are added up


@dataclass(frozen=True)
class SimdVector:
    """Numbers side by side in a register (or one number), and the builder that writes the code on them."""

    builder: Builder
    value: Value

    @property
    def width(self) -> int:
        """Number of lanes, 0 for a plain number."""
        return self.value.type.count if isinstance(self.value.type, ir.VectorType) else 0

    @property
    def kind(self) -> Kind:
        """Type of a lane."""
        return self.value.type.element if self.width else self.value.type

    @property
    def is_float(self) -> bool:
        """Whether the lanes are floats."""
        return bool(self.kind == FLOAT)

    def __add__(self, other: SimdVector | float) -> SimdVector:
        add = self.builder.add if not self.is_float else self._fused(self.builder.fadd)
        return self._of(add(self.value, self._value(other)))

    def __sub__(self, other: SimdVector | float) -> SimdVector:
        subtract = self.builder.sub if not self.is_float else self._fused(self.builder.fsub)
        return self._of(subtract(self.value, self._value(other)))

    def __mul__(self, other: SimdVector | float) -> SimdVector:
        multiply = self.builder.mul if not self.is_float else self._fused(self.builder.fmul)
        return self._of(multiply(self.value, self._value(other)))

    def __truediv__(self, other: SimdVector | float) -> SimdVector:
        return self._of(self.builder.fdiv(self.value, self._value(other)))

    def __neg__(self) -> SimdVector:
        return self._of(self.builder.fneg(self.value))

    def __xor__(self, other: SimdVector) -> SimdVector:
        return self._of(self.builder.xor(self.value, other.value))

    def __lshift__(self, bits: int) -> SimdVector:
        return self._of(self.builder.shl(self.value, self._value(bits)))

    def __rshift__(self, bits: int) -> SimdVector:
        return self._of(self.builder.lshr(self.value, self._value(bits)))

    def __lt__(self, other: SimdVector | float) -> SimdVector:
        compare = self.builder.fcmp_ordered if self.is_float else self.builder.icmp_unsigned
        return self._of(compare("<", self.value, self._value(other)))

    def __gt__(self, other: SimdVector | float) -> SimdVector:
        compare = self.builder.fcmp_ordered if self.is_float else self.builder.icmp_unsigned
        return self._of(compare(">", self.value, self._value(other)))

    def where(self, yes: SimdVector | float, no: SimdVector | float) -> SimdVector:
        """Lanes of `yes` where this mask holds, of `no` elsewhere; one of them at least is no constant."""
        known = yes if isinstance(yes, SimdVector) else no
        assert isinstance(known, SimdVector)
        return self._of(self.builder.select(self.value, known._value(yes), known._value(no)))

    def max(self, other: SimdVector | float) -> SimdVector:
        """Return the larger of each two; NaN stays."""
        return self._of(self.builder.fcmp_unordered(">", self.value, self._value(other))).where(self, other)

    def min(self, other: SimdVector | float) -> SimdVector:
        """Return the smaller of each two; NaN stays."""
        return self._of(self.builder.fcmp_unordered("<", self.value, self._value(other))).where(self, other)

    def floor(self) -> SimdVector:
        """Round down."""
        return self._call(f"llvm.floor.{self._suffix}", self.value.type, self.value)

    def rounded(self) -> SimdVector:
        """Cut floats to int32."""
        return self._of(self.builder.fptosi(self.value, self._like(I32)))

    def as_float(self) -> SimdVector:
        """Convert signed ints to floats."""
        return self._of(self.builder.sitofp(self.value, self._like(FLOAT)))

    def resized(self, kind: Kind) -> SimdVector:
        """Convert unsigned ints to longer or shorter ones."""
        change = self.builder.zext if kind.width > self.kind.width else self.builder.trunc
        return self._of(change(self.value, self._like(kind)))

    def extended(self, kind: Kind) -> SimdVector:
        """Convert signed ints to longer ones."""
        return self._of(self.builder.sext(self.value, self._like(kind)))

    def bits(self, kind: Kind) -> SimdVector:
        """Read the same bits as another kind of number."""
        return self._of(self.builder.bitcast(self.value, self._like(kind)))

    def signed_shift(self, bits: int) -> SimdVector:
        """Shift right, the sign staying."""
        return self._of(self.builder.ashr(self.value, self._value(bits)))

    def pick(self, other: SimdVector, order: Sequence[int]) -> SimdVector:
        """Choose lanes of the two: those of `other` count from this width."""
        mask = ir.Constant(ir.VectorType(I32, len(order)), list(order))
        return self._of(self.builder.shuffle_vector(self.value, other.value, mask))

    def widened(self) -> SimdVector:
        """Fill up with lanes of 0 to the full width."""
        zero = self._of(ir.Constant(self.value.type, [0.0] * self.width))
        return self.pick(zero, [min(lane, self.width) for lane in range(WIDTH)])

    def total(self) -> SimdVector:
        """Add up all lanes: the sum in every lane."""
        return splat(self.builder, self.sum())

    def sum(self) -> Value:
        """Add up all lanes: one float."""
        zero = ir.Constant(FLOAT, 0.0)
        return self._call(f"llvm.vector.reduce.fadd.{self._suffix}", FLOAT, zero, self.value).value

    def top(self) -> SimdVector:
        """Find the largest lane, and put it in every lane."""
        best = self
        for half in (8, 4, 2, 1):
            best = best.max(best.pick(best, [lane ^ half for lane in range(WIDTH)]))
        return best

    def lane(self, n: int) -> SimdVector:
        """Put one lane in every lane."""
        return self.pick(self, [n] * WIDTH)

    def gather(self, table: Value) -> SimdVector:
        """Elements of a table (a pointer) at these places, read one by one: the gather instruction is no faster."""
        places = self.resized(I64)
        result = ir.Constant(self._like(table.type.pointee), ir.Undefined)
        for n in range(self.width):
            lane = ir.Constant(I32, n)
            at = self.builder.gep(table, [self.builder.extract_element(places.value, lane)])
            result = self.builder.insert_element(result, self.builder.load(at), lane)
        return self._of(result)

    def first(self) -> Value:
        """Return lane 0: one number."""
        return self.builder.extract_element(self.value, ir.Constant(I32, 0))

    def store(self, pointer: Value) -> None:
        """Write the lanes from a pointer to the first on."""
        at = self.builder.bitcast(pointer, self.value.type.as_pointer())
        self.builder.store(self.value, at, align=size_of(self.kind))

    def _of(self, value: Value) -> SimdVector:
        return SimdVector(self.builder, value)

    def _value(self, other: SimdVector | float) -> Value:
        if isinstance(other, SimdVector):
            return other.value
        return ir.Constant(self.value.type, [other] * self.width if self.width else other)

    def _fused(self, operation: Value) -> Value:
        return lambda a, b: operation(a, b, FUSED)

    def _like(self, kind: Kind) -> Kind:
        return ir.VectorType(kind, self.width) if self.width else kind

    @property
    def _suffix(self) -> str:
        return f"v{self.width}f32" if self.width else "f32"

    def _call(self, name: str, result: Kind, *arguments: Value) -> SimdVector:
        kind = ir.FunctionType(result, [value.type for value in arguments])
        known = self.builder.module.globals.get(name) or ir.Function(self.builder.module, kind, name)
        flags = ANY_ORDER if "reduce" in name else ()
        return self._of(self.builder.call(known, arguments, fastmath=flags))


def size_of(kind: Kind) -> int:
    """Bytes of a number."""
    return 4 if kind == FLOAT else int(kind.width) // 8


def load(builder: Builder, pointer: Value, width: int = WIDTH) -> SimdVector:
    """Read `width` numbers from a pointer to the first."""
    at = builder.bitcast(pointer, ir.VectorType(pointer.type.pointee, width).as_pointer())
    return SimdVector(builder, builder.load(at, align=size_of(pointer.type.pointee)))


def splat(builder: Builder, value: Value, width: int = WIDTH) -> SimdVector:
    """One number in every lane."""
    empty = ir.Constant(ir.VectorType(value.type, width), ir.Undefined)
    one = SimdVector(builder, builder.insert_element(empty, value, ir.Constant(I32, 0)))
    return one.pick(one, [0] * width)


def numbered(builder: Builder, first: int, kind: Kind = I32, width: int = WIDTH) -> SimdVector:
    """Return first, first + 1, first + 2, ..."""
    return SimdVector(builder, ir.Constant(ir.VectorType(kind, width), list(range(first, first + width))))


def exp(x: SimdVector) -> SimdVector:
    """e^x to 5e-7 relative, x clamped to [-60, 88], so that no product with it is a slow denormal.

    e^x = 2^n e^f: n goes into the exponent bits, e^f for |f| <= ln(2)/2 is a Taylor polynomial of degree 6;
    ln 2 is taken off in two parts (Cody and Waite 1980) to keep the bits of f.
    """
    z = x.max(-60.0).min(88.0)
    n = (z * 1.4426950408889634 + 0.5).floor()
    f = (z - n * 0.693145751953125) - n * 1.428606765330187e-06
    power = f * (1 / 720) + 1 / 120
    for term in (1 / 24, 1 / 6, 0.5, 1.0, 1.0):
        power = power * f + term
    return power * ((n.rounded() + 127) << 23).bits(FLOAT)


def log(x: SimdVector) -> SimdVector:
    """Natural logarithm of a normal x > 0, to 2e-7 (relative above 2).

    x = 2^n m with m in [2/3, 4/3): log m = 2 artanh z, z = (m - 1) / (m + 1), |z| <= 1/5, by its series to z^9.
    """
    two_thirds = 0x3F2AAAAB  # as bits
    n = (x.bits(I32) - two_thirds).signed_shift(23)
    m = (x.bits(I32) - (n << 23)).bits(FLOAT)
    z = (m - 1.0) / (m + 1.0)
    square = z * z
    series = square * (2 / 9) + 2 / 7
    for term in (2 / 5, 2 / 3, 2.0):
        series = series * square + term
    return series * z + n.as_float() * 0.6931471805599453
