"""The matrix of a two-dimensional convolution, dense or sparse."""

from __future__ import annotations

from math import prod
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from convlab import _arguments, _arrays
from convlab._shapes import Parameters, Shape
from convlab._types import Ints, Padding, Sizes

# Every product is listed with its column, then each that falls inside x with column, row and value.
_BYTES_PER_PRODUCT = 4 * 8
# Positions outside x, by at most two paddings, must be countable too.
_LARGEST_COLUMN = 2**62


def conv_matrix2d(
    w: ArrayLike,
    input_shape: Sizes,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    sparse: bool = False,
) -> Any:
    """Matrix M of a convolution: ``conv2d(x, w, ...).ravel() == M @ x.ravel()``.

    Its transpose is the matrix of the transposed convolution. Row by row it holds the weights that
    one output element multiplies the input with.

    Parameters
    ----------
    w : array_like, shape (C_out, C_in/groups, kH, kW)
        Weight.
    input_shape : tuple of int
        Shape of x, (C_in, H, W) or (N, C_in, H, W).
    stride, padding, dilation, groups
        As in `conv2d`.
    sparse : bool
        Return a `scipy.sparse.csr_array` (with float32 for float16, which SciPy does not have)
        instead of a dense array. Needs SciPy.

    Returns
    -------
    ndarray or scipy.sparse.csr_array, shape (y.size, x.size)
        The matrix, of the dtype that ``conv2d`` computes for this weight.

    Raises
    ------
    ValueError
        If sizes or values do not fit together.
    TypeError
        If an argument or a dtype is of the wrong kind.
    MemoryError
        If the matrix, or the list of its entries, is larger than the machine's memory.
    ImportError
        If ``sparse`` is asked for and SciPy is missing.

    Notes
    -----
    Equation (16) of docs/math.md.

    Examples
    --------
    >>> import numpy as np
    >>> conv_matrix2d(np.array([[[[1.0, 2.0]]]]), (1, 2, 3))
    array([[1., 2., 0., 0., 0., 0.],
           [0., 1., 2., 0., 0., 0.],
           [0., 0., 0., 1., 2., 0.],
           [0., 0., 0., 0., 1., 2.]])
    """
    name = "conv_matrix2d"
    call = Parameters(name, 2, stride, padding, dilation, groups, "channels_first")
    sparse = _arguments.flag(name, "sparse", sparse)
    x_shape = _arguments.shape(name, "input_shape", input_shape)
    w = _arrays.array(name, "w", w)
    y_shape, before = call.conv_output(x_shape, w.shape, x_name="input_shape")
    dtype = _arrays.promoted(w)
    products = _products(call, y_shape, w.shape)
    shape = (prod(y_shape), prod(x_shape))
    _check_size(x_shape, shape, products, 0 if sparse else dtype.itemsize)
    try:
        w = _arrays.native(name, w, dtype)
        inside, columns = _entries(call, x_shape, products, before)
        values = np.broadcast_to(w[:, None, None], products)[inside]
        entries_of_row = np.count_nonzero(inside, axis=(4, 5, 6)).ravel()
        if sparse:
            return _csr(values, columns, entries_of_row, shape)
        matrix = np.zeros(shape, dtype)
        matrix[np.repeat(np.arange(shape[0]), entries_of_row), columns] = values
        return matrix
    except MemoryError as error:
        raise _too_large(x_shape, shape) from error


def _products(call: Parameters, y_shape: Shape, w_shape: Shape) -> Shape:
    """Sizes of the axes (n, o, oh, ow, i, kh, kw) of all products that the convolution sums."""
    batch, out_channels, out = call.data_parts("output", y_shape)
    return (*(batch or (1,)), out_channels, *out, *w_shape[1:])


def _check_size(x_shape: Shape, shape: Shape, products: Shape, itemsize: int) -> None:
    """Raise unless the matrix and the lists that it is made from fit in memory.

    ``itemsize`` is that of the dense matrix's elements, 0 if there is none.
    """
    # An empty axis makes the matrix empty, but not the indices along the other axes.
    listed = _BYTES_PER_PRODUCT * prod(max(size, 1) for size in products)
    if listed + itemsize * prod(shape) > _arrays.MEMORY_BYTES:
        raise _too_large(x_shape, shape)
    if max(x_shape) > _LARGEST_COLUMN or prod(x_shape) > _LARGEST_COLUMN:
        raise ValueError(
            f"conv_matrix2d: input_shape {x_shape} has more elements than indices can count"
        )


def _too_large(x_shape: Shape, shape: Shape) -> MemoryError:
    return MemoryError(
        f"conv_matrix2d: for input_shape {x_shape}, making the matrix of shape {shape} "
        "takes more memory than there is"
    )


def _entries(
    call: Parameters, x_shape: Shape, products: Shape, before: Shape
) -> tuple[np.ndarray, np.ndarray]:
    """Find the entries of M that hold a weight, in the order of M's rows and columns.

    Returns which of the products (n, o, oh, ow, i, kh, kw) fall inside x, and the columns of those.
    """
    _, channels, (height, width) = call.data_parts("input_shape", x_shape)
    _, out_channels, _, _, in_per_group, _, _ = products
    n, o, oh, ow, i, kh, kw = np.ogrid[tuple(map(slice, products))]
    h, w = (
        position * stride - pad + tap * dilation
        for position, tap, stride, pad, dilation in zip(
            (oh, ow), (kh, kw), call.stride, before, call.dilation, strict=True
        )
    )
    inside = np.broadcast_to((h >= 0) & (h < height) & (w >= 0) & (w < width), products)
    group = o * call.groups // max(out_channels, 1)
    channel = group * in_per_group + i
    columns = ((n * channels + channel) * height + h) * width + w
    return inside, np.broadcast_to(columns, products)[inside]


def _csr(values: np.ndarray, columns: np.ndarray, entries_of_row: np.ndarray, shape: Shape) -> Any:
    try:
        from scipy import sparse
    except ImportError as error:
        raise ImportError("conv_matrix2d: sparse=True needs SciPy (pip install scipy)") from error
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    starts = np.concatenate(([0], np.cumsum(entries_of_row)))
    return sparse.csr_array((values, columns, starts), shape=shape)
