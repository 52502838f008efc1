"""The matrix of a two-dimensional convolution, dense or sparse."""

from __future__ import annotations

from math import prod
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from convlab import _arguments, _arrays
from convlab._shapes import Parameters, Shape
from convlab._types import Ints, Padding, Sizes


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
    w = _arrays.native(w, _arrays.promoted(w))

    inside, columns = _entries(call, x_shape, y_shape, w.shape, before)
    values = np.broadcast_to(w[:, None, None], inside.shape)[inside]
    entries_of_row = np.count_nonzero(inside, axis=(4, 5, 6)).ravel()
    shape = (prod(y_shape), prod(x_shape))
    if sparse:
        return _csr(values, columns, entries_of_row, shape)
    matrix = np.zeros(shape, w.dtype)
    matrix[np.repeat(np.arange(shape[0]), entries_of_row), columns] = values
    return matrix


def _entries(
    call: Parameters, x_shape: Shape, y_shape: Shape, w_shape: Shape, before: Shape
) -> tuple[np.ndarray, np.ndarray]:
    """Find the entries of M that hold a weight, in the order of M's rows and columns.

    Returns which of the products (n, o, oh, ow, i, kh, kw) fall inside x, and the columns of those.
    """
    batch, channels, spatial = call.data_parts("input_shape", x_shape)
    _, out_channels, out = call.data_parts("output", y_shape)
    _, in_per_group, *kernel = w_shape
    n, o, oh, ow, i, kh, kw = np.ogrid[
        tuple(slice(size) for size in (*(batch or (1,)), out_channels, *out, in_per_group, *kernel))
    ]
    h, w = (
        position * stride - pad + tap * dilation
        for position, tap, stride, pad, dilation in zip(
            (oh, ow), (kh, kw), call.stride, before, call.dilation, strict=True
        )
    )
    height, width = spatial
    full = np.broadcast_shapes(*(axis.shape for axis in (n, o, oh, ow, i, kh, kw)))
    inside = np.broadcast_to((h >= 0) & (h < height) & (w >= 0) & (w < width), full)
    group = o * call.groups // max(out_channels, 1)
    channel = group * in_per_group + i
    columns = ((n * channels + channel) * height + h) * width + w
    return inside, np.broadcast_to(columns, full)[inside]


def _csr(values: np.ndarray, columns: np.ndarray, entries_of_row: np.ndarray, shape: Shape) -> Any:
    try:
        from scipy import sparse
    except ImportError as error:
        raise ImportError("conv_matrix2d: sparse=True needs SciPy (pip install scipy)") from error
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    starts = np.concatenate(([0], np.cumsum(entries_of_row)))
    return sparse.csr_array((values, columns, starts), shape=shape)
