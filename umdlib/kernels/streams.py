"""Non-temporal copies, for data that will not be read again soon."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from umdlib.kernels.compiled import njit

LINE = 64


@intrinsic
def _stream_line(typingctx, target, at, source, start):
    """Copy 64 bytes; the target's must be aligned to 64."""
    signature = types.void(target, types.intp, source, types.intp)

    def codegen(context, builder, signature, arguments):
        def pointer(array_type, array, offset):
            data = cgutils.create_struct_proxy(array_type)(context, builder, array).data
            vector = ir.VectorType(ir.IntType(8), LINE)
            return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())

        line = builder.load(pointer(signature.args[2], *arguments[2:]), align=1)
        store = builder.store(line, pointer(signature.args[0], *arguments[:2]), align=LINE)
        one = ir.Constant(ir.IntType(32), 1)
        store.set_metadata("nontemporal", builder.module.add_metadata([one]))
        return context.get_dummy_value()

    return signature, codegen


@njit(cache=True, nogil=True)
def copy(target, at, source, count):
    """Copy the first bytes of `source` to `target` from `at` on; that place is aligned to 64."""
    whole = count // LINE * LINE
    for n in range(0, whole, LINE):
        _stream_line(target, at + n, source, n)
    for n in range(whole, count):
        target[at + n] = source[n]
