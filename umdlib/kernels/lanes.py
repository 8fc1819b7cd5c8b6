"""Sixty-four voxels of a row at a time: comparisons whose answer is one 64-bit mask.

Bit t of a mask is about element ``offset + t`` of a flat array. Nothing checks that 64 elements are
there: the caller does. LLVM turns each function into the machine's widest comparisons.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from umdlib.kernels.compiled import njit

# Voxels, and points or boxes in mm, that are compared at once.
LANES = 64
POINTS = 32


def _load(context, builder, array_type, array, offset, lanes=LANES):
    """Elements of a flat array from `offset` on as a vector."""
    element = context.get_data_type(array_type.dtype)
    data = cgutils.create_struct_proxy(array_type)(context, builder, array).data
    vector = ir.VectorType(element, lanes)
    pointer = builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())
    return builder.load(pointer, align=max(1, array_type.dtype.bitwidth // 8))


def _splat(builder, value, lanes):
    """A vector that holds one value throughout."""
    vector = ir.VectorType(value.type, lanes)
    nothing, index = ir.Constant(vector, ir.Undefined), ir.IntType(32)
    one = builder.insert_element(nothing, value, ir.Constant(index, 0))
    return builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(index, lanes), [0] * lanes))


def _mask(builder, truths):
    """A vector of truth values as a 64-bit integer."""
    bits = builder.bitcast(truths, ir.IntType(truths.type.count))
    return bits if truths.type.count == 64 else builder.zext(bits, ir.IntType(64))


@intrinsic
def unlike(typingctx, array, offset, value):
    """Where elements differ from `value`."""
    signature = types.uint64(array, types.intp, array.dtype)

    def codegen(context, builder, signature, arguments):
        array, offset, value = arguments
        vector = _load(context, builder, signature.args[0], array, offset)
        same = _splat(builder, value, LANES)
        return _mask(builder, builder.icmp_unsigned("!=", vector, same))

    return signature, codegen


@intrinsic
def having(typingctx, array, offset, bits):
    """Where elements have any of some bits."""
    signature = types.uint64(array, types.intp, array.dtype)

    def codegen(context, builder, signature, arguments):
        array, offset, bits = arguments
        vector = _load(context, builder, signature.args[0], array, offset)
        common = builder.and_(vector, _splat(builder, bits, LANES))
        zero = ir.Constant(vector.type, [0] * LANES)
        return _mask(builder, builder.icmp_unsigned("!=", common, zero))

    return signature, codegen


@intrinsic
def unequal(typingctx, a, a_offset, b, b_offset):
    """Where elements of two arrays differ."""
    signature = types.uint64(a, types.intp, b, types.intp)

    def codegen(context, builder, signature, arguments):
        a = _load(context, builder, signature.args[0], arguments[0], arguments[1])
        b = _load(context, builder, signature.args[2], arguments[2], arguments[3])
        return _mask(builder, builder.icmp_unsigned("!=", a, b))

    return signature, codegen


def _sum_of_squares(builder, parts):
    """a a + b b + c c, in this order."""
    squares = [builder.fmul(p, p) for p in parts]
    return builder.fadd(builder.fadd(squares[0], squares[1]), squares[2])


def _rows(context, builder, signature, arguments, count):
    """The next `POINTS` elements of the first rows of a flat (count, stride) array."""
    array, stride, offset = arguments[:3]
    for _ in range(count):
        yield _load(context, builder, signature.args[0], array, offset, POINTS)
        offset = builder.add(offset, stride)


@intrinsic
def closer_points(typingctx, points, stride, offset, z, y, x, squared):
    """Which of 32 points of a flat (3, stride) array are nearer to (z, y, x) than sqrt(squared)."""
    number = types.float64
    signature = types.uint64(points, types.intp, types.intp, number, number, number, number)

    def codegen(context, builder, signature, arguments):
        at = [_splat(builder, v, POINTS) for v in arguments[3:6]]
        rows = _rows(context, builder, signature, arguments, 3)
        parts = [builder.fsub(row, v) for row, v in zip(rows, at, strict=True)]
        distance = _sum_of_squares(builder, parts)
        least = _splat(builder, arguments[6], POINTS)
        return _mask(builder, builder.fcmp_ordered("<", distance, least))

    return signature, codegen


@intrinsic
def closer_boxes(typingctx, boxes, stride, offset, z, y, x, squared):
    """Which of 32 boxes of a flat (6, stride) array come nearer to (z, y, x) than sqrt(squared).

    Rows: lowest z, y, x, then highest.
    """
    number = types.float64
    signature = types.uint64(boxes, types.intp, types.intp, number, number, number, number)

    def codegen(context, builder, signature, arguments):
        at = [_splat(builder, v, POINTS) for v in arguments[3:6]]
        rows = list(_rows(context, builder, signature, arguments, 6))
        zero = ir.Constant(at[0].type, [0.0] * POINTS)
        gaps = []
        for v, low, high in zip(at, rows[:3], rows[3:], strict=True):
            below, above = builder.fsub(low, v), builder.fsub(v, high)
            gap = builder.select(builder.fcmp_ordered(">", below, above), below, above)
            gaps.append(builder.select(builder.fcmp_ordered(">", gap, zero), gap, zero))
        least = _splat(builder, arguments[6], POINTS)
        gap = _sum_of_squares(builder, gaps)
        return _mask(builder, builder.fcmp_ordered("<", gap, least))

    return signature, codegen


@intrinsic
def lowest(typingctx, mask):
    """Index of the lowest set bit; 64 where none is set."""
    signature = types.intp(types.uint64)

    def codegen(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return signature, codegen


@intrinsic
def leading(typingctx, mask):
    """Number of zero bits above the highest set bit; 64 where none is set."""
    signature = types.intp(types.uint64)

    def codegen(context, builder, signature, arguments):
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return signature, codegen


@njit(inline="always")
def first_bits(count):
    """A mask of the lowest `count` bits, 0 to 64."""
    return ~types.uint64(0) if count >= LANES else (types.uint64(1) << types.uint64(count)) - types.uint64(1)
