"""Products of the matrices of LANES tasks in lockstep, one task a lane.

An array (rows, LANES) holds a number of LANES tasks side by side; a matrix of theirs lies in it row by row. The
matrices have 16 to 64 rows, too few for BLAS or XLA, which spend most of the time on calls, packing and copies. Here
each multiply-add is one vector instruction for all lanes, and no digit depends on how tasks and members are spread over
threads.
"""

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16  # tasks side by side: a vector register of float32
TILE = 4    # rows of a product that are summed at once; also columns, but for the two logits


def _tile(columns: int):
    """A compiled function that adds a product's tile of TILE rows and `columns` columns, for all lanes.

    add(out, o, op, oq, x, a, xp, xr, y, b, yr, yq, depth): out[o + p op + q oq] += sum over r < depth of
    x[a + p xp + r xr] * y[b + r yr + q yq]. The sums stay in registers, which no loop in Python can ask for.
    """
    @intrinsic
    def add(typing, out, o, op, oq, x, a, xp, xr, y, b, yr, yq, depth):
        def generate(context, builder, signature, values):
            vector = ir.VectorType(context.get_value_type(out.dtype), LANES)
            size = context.get_abi_sizeof(context.get_value_type(out.dtype))

            def vectors(array, value):
                data = context.make_array(array)(context, builder, value).data
                return builder.bitcast(data, vector.as_pointer())

            def row(first, *steps):
                for i, step in steps:
                    first = builder.add(first, builder.mul(context.get_constant(types.intp, i), step))
                return first

            def load(pointer):
                return builder.load(pointer, align=size)

            (_, first, of_p, of_q, _, x_first, x_p, x_r, _, y_first, y_r, y_q, many) = values
            target, left, right = (vectors(kind, values[i]) for kind, i in ((out, 0), (x, 4), (y, 8)))
            places = {(p, q): builder.gep(target, [row(first, (p, of_p), (q, of_q))])
                      for p in range(TILE) for q in range(columns)}
            sums = {}
            for place, pointer in places.items():
                sums[place] = cgutils.alloca_once(builder, vector)
                builder.store(load(pointer), sums[place])
            with cgutils.for_range(builder, many) as loop:
                xs = [load(builder.gep(left, [builder.add(row(x_first, (p, x_p)), builder.mul(loop.index, x_r))]))
                      for p in range(TILE)]
                ys = [load(builder.gep(right, [builder.add(row(y_first, (q, y_q)), builder.mul(loop.index, y_r))]))
                      for q in range(columns)]
                for (p, q), total in sums.items():
                    product = builder.fmul(xs[p], ys[q], flags=("contract",))
                    builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)
            for place, pointer in places.items():
                builder.store(builder.load(sums[place]), pointer, align=size)
            return context.get_dummy_value()

        return types.void(out, o, op, oq, x, a, xp, xr, y, b, yr, yq, depth), generate

    return add


_tile_of_four, _tile_of_two = _tile(4), _tile(2)


@njit(nogil=True)
def _add_product(out, o, op, oq, x, a, xp, xr, y, b, yr, yq, rows, columns, depth):
    """out += x y for matrices of all lanes; arguments as of `_tile`, rows a multiple of TILE, columns of 2."""
    whole = columns // 4 * 4
    for q in range(0, whole, 4):
        for p in range(0, rows, TILE):
            _tile_of_four(out, o + p * op + q * oq, op, oq, x, a + p * xp, xp, xr, y, b + q * yq, yr, yq, depth)
    if whole < columns:
        for p in range(0, rows, TILE):
            _tile_of_two(out, o + p * op + whole * oq, op, oq, x, a + p * xp, xp, xr, y, b + whole * yq, yr, yq, depth)


@njit(nogil=True)
def add_forward(out, o, x, a, w, b, samples, inputs, outputs):
    """out (samples, outputs) += x (samples, inputs) w (inputs, outputs)."""
    _add_product(out, o, outputs, 1, x, a, inputs, 1, w, b, outputs, 1, samples, outputs, inputs)


@njit(nogil=True)
def add_backward(out, o, dz, a, w, b, samples, inputs, outputs):
    """out (samples, inputs) += dz (samples, outputs) w^T."""
    _add_product(out, o, inputs, 1, dz, a, outputs, 1, w, b, 1, outputs, samples, inputs, outputs)


@njit(nogil=True)
def add_gradient(out, o, x, a, dz, b, samples, inputs, outputs):
    """out (inputs, outputs) += x^T dz."""
    _add_product(out, o, outputs, 1, x, a, 1, inputs, dz, b, outputs, 1, inputs, outputs, samples)
