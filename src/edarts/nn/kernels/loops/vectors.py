"""Short vectors of float32 inside compiled loops, so that none waits for the compiler to find them.

Numba's own vectorisation gives up on sums, strides and short rows. Here a vector is a value: loaded
from an array at an index, multiplied, added, stored. It fills a register of this processor, or two.
"""

import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

# Of a loop that other loops alone call and that makes no arrays: without a door to Python, and
# without counting who holds an array, which takes longer than a short row does.
helper = numba.njit(  # type: ignore[call-overload]
    cache=True, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True
)

WIDTH = 16 if binding.get_host_cpu_features().get("avx512f") else 8

_VECTOR = ir.VectorType(ir.FloatType(), WIDTH)
_ZEROS = ir.Constant(_VECTOR, [0.0] * WIDTH)
_FIRST = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)


class VectorType(types.Type):
    """Numba's type of WIDTH float32 numbers."""

    def __init__(self):
        super().__init__(name=f"float32x{WIDTH}")


vector = VectorType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _VECTOR)


def _place(context, builder, kind, array, index):
    """The address of array[index]; a negative index is not one from the end."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [index])


@intrinsic
def load(typing, array, index):
    """array[index : index + WIDTH]; unchecked."""

    def generate(context, builder, signature, arguments):
        place = _place(context, builder, signature.args[0], *arguments)
        value = builder.load(builder.bitcast(place, _VECTOR.as_pointer()))
        value.align = 4
        return value

    return vector(array, types.intp), generate


@intrinsic
def store(typing, array, index, value):
    """array[index : index + WIDTH] = value; unchecked."""

    def generate(context, builder, signature, arguments):
        place = _place(context, builder, signature.args[0], *arguments[:2])
        stored = builder.store(arguments[2], builder.bitcast(place, _VECTOR.as_pointer()))
        stored.align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


def _mask(builder, count):
    """Which of a vector's numbers are among the first `count`."""
    kind = ir.VectorType(count.type, WIDTH)
    undefined = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(undefined, count, ir.IntType(32)(0))
    counts = builder.shuffle_vector(one, undefined, _FIRST)
    return builder.icmp_signed("<", ir.Constant(kind, list(range(WIDTH))), counts)


@intrinsic
def load_some(typing, array, index, count):
    """The first `count` numbers from array[index] on, zeros after them; no others are read."""

    def generate(context, builder, signature, arguments):
        place = _place(context, builder, signature.args[0], *arguments[:2])
        mask = _mask(builder, arguments[2])
        kinds = [_VECTOR.as_pointer(), ir.IntType(32), mask.type, _VECTOR]
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_VECTOR, kinds), f"llvm.masked.load.v{WIDTH}f32.p0"
        )
        address = builder.bitcast(place, _VECTOR.as_pointer())
        return builder.call(function, [address, ir.IntType(32)(4), mask, _ZEROS])

    return vector(array, types.intp, types.intp), generate


@intrinsic
def store_some(typing, array, index, count, value):
    """array[index : index + count] = the first `count` numbers of a vector; unchecked."""

    def generate(context, builder, signature, arguments):
        place = _place(context, builder, signature.args[0], *arguments[:2])
        mask = _mask(builder, arguments[2])
        kinds = [_VECTOR, _VECTOR.as_pointer(), ir.IntType(32), mask.type]
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), kinds),
            f"llvm.masked.store.v{WIDTH}f32.p0",
        )
        address = builder.bitcast(place, _VECTOR.as_pointer())
        builder.call(function, [arguments[3], address, ir.IntType(32)(4), mask])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, vector), generate


@intrinsic
def prefetch(typing, address):
    """Begin to bring the cache line at an address into the second-level cache; it may be any."""

    def generate(context, builder, signature, arguments):
        place = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [place, number(0), number(2), number(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def repeat(typing, array, index):
    """array[index], WIDTH times; unchecked."""

    def generate(context, builder, signature, arguments):
        number = builder.load(_place(context, builder, signature.args[0], *arguments))
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        one = builder.insert_element(undefined, number, ir.IntType(32)(0))
        return builder.shuffle_vector(one, undefined, _FIRST)

    return vector(array, types.intp), generate


@intrinsic
def zeros(typing):
    """A vector of zeros."""
    return vector(), lambda context, builder, signature, arguments: _ZEROS


@intrinsic
def multiply_add(typing, a, b, c):
    """a * b + c, rounded once."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        name = f"llvm.fma.v{WIDTH}f32"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)

    return vector(vector, vector, vector), generate


@intrinsic
def add(typing, a, b):
    """a + b."""
    return vector(vector, vector), lambda c, builder, s, arguments: builder.fadd(*arguments)


@intrinsic
def subtract(typing, a, b):
    """a - b."""
    return vector(vector, vector), lambda c, builder, s, arguments: builder.fsub(*arguments)


@intrinsic
def multiply(typing, a, b):
    """a * b."""
    return vector(vector, vector), lambda c, builder, s, arguments: builder.fmul(*arguments)


@intrinsic
def divide(typing, a, b):
    """a / b."""
    return vector(vector, vector), lambda c, builder, s, arguments: builder.fdiv(*arguments)


@intrinsic
def maximum(typing, a, b):
    """The larger of a and b."""

    def generate(context, builder, signature, arguments):
        larger = builder.fcmp_ordered(">", *arguments)
        return builder.select(larger, *arguments)

    return vector(vector, vector), generate


@intrinsic
def where_equal(typing, a, b, value):
    """value where a = b, else 0."""

    def generate(context, builder, signature, arguments):
        equal = builder.fcmp_ordered("==", *arguments[:2])
        return builder.select(equal, arguments[2], _ZEROS)

    return vector(vector, vector, vector), generate


@intrinsic
def where_positive(typing, condition, value):
    """value where condition > 0 or is no number, else 0: what is wrong stays seen."""

    def generate(context, builder, signature, arguments):
        positive = builder.fcmp_unordered(">", arguments[0], _ZEROS)
        return builder.select(positive, arguments[1], _ZEROS)

    return vector(vector, vector), generate


@intrinsic
def _pointer(typing, address):
    """The address, an integer, as a pointer to float32."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], ir.FloatType().as_pointer())

    return types.CPointer(types.float32)(types.int64), generate


@numba.njit(cache=True)
def array_at(address, size):
    """The array of `size` numbers that lies at `address`; whoever calls keeps it alive."""
    return numba.carray(_pointer(address), size, np.float32)
