"""Windows as columns (unfold) and columns summed back into windows (fold)."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import ArrayLike

from convlab import _arguments, _arrays, _core
from convlab._shapes import Parameters
from convlab._types import Ints, Padding

_unfold = _arrays.linear(_core.unfold)
_fold = _arrays.linear(_core.fold)


def unfold(
    x: ArrayLike, kernel_size: Ints, *, stride: Ints = 1, padding: Padding = 0, dilation: Ints = 1
) -> np.ndarray:
    r"""Lay every window that a convolution would see out as a column.

    ``columns[n, (c, kh, kw), (oh, ow)] = x[n, c, stride*oh - pad + dilation*kh, ...]``, zero
    outside x, so that a convolution is the product ``w.reshape(C_out, -1) @ columns``.

    Parameters
    ----------
    x : array_like, shape (N, C, \*spatial) or (C, \*spatial)
        1 to 3 spatial axes.
    kernel_size : int or tuple of int
        A tuple's length says how many spatial axes there are; an int is a square on two axes.
    stride, padding, dilation
        As in `conv2d`, every form of padding included.

    Returns
    -------
    ndarray, shape (N, C * prod(kernel_size), positions) or without N
        Rows are ordered (channel, \*kernel), columns by output position.

    Raises
    ------
    ValueError
        If sizes do not fit; a kernel larger than the padded input is one such case.
    TypeError
        If an argument or a dtype is of the wrong kind.

    See Also
    --------
    fold : The adjoint, which sums windows back.

    Notes
    -----
    Equation (0) of docs/math.md says which element of x each place holds.

    Examples
    --------
    >>> import numpy as np
    >>> unfold(np.arange(9.0).reshape(1, 3, 3), 2)
    array([[0., 1., 3., 4.],
           [1., 2., 4., 5.],
           [3., 4., 6., 7.],
           [4., 5., 7., 8.]])
    """
    name = "unfold"
    nd = _arguments.spatial_rank(name, kernel_size=kernel_size)
    kernel = _arguments.size(name, "kernel_size", kernel_size, nd, 1)
    call = Parameters(name, nd, stride, padding, dilation, 1, "channels_first")
    x = _arrays.array(name, "x", x)
    batch, channels, spatial = call.data_parts("x", x.shape)
    before, positions = call.conv_sizes(spatial, kernel)
    columns = _arrays.compute(
        name,
        _unfold,
        (*(batch or (1,)), channels * prod(kernel), prod(positions)),
        _arrays.promoted(x),
        (x if batch else x[None],),
        (kernel, positions, call.stride, before, call.dilation),
    )
    return columns if batch else columns[0]


def fold(
    columns: ArrayLike,
    output_size: Ints,
    kernel_size: Ints,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
) -> np.ndarray:
    r"""Sum columns back into the windows that `unfold` took them from.

    It is the adjoint of `unfold`, not its inverse: where windows overlap, values add up.

    Parameters
    ----------
    columns : array_like, shape (N, C * prod(kernel_size), positions) or without N
        As `unfold` makes them.
    output_size : int or tuple of int
        Spatial size of the result; what was the input's size to `unfold`.
    kernel_size : int or tuple of int
        A tuple's length says how many spatial axes there are; ints alone mean two.
    stride, padding, dilation
        As given to `unfold`.

    Returns
    -------
    ndarray, shape (N, C, \*output_size) or without N
        The sums.

    Raises
    ------
    ValueError
        If sizes do not fit.
    TypeError
        If an argument or a dtype is of the wrong kind.

    See Also
    --------
    unfold : The adjoint, which lays windows out.

    Notes
    -----
    Equation (0) of docs/math.md says which element of the result each place is added to.

    Examples
    --------
    >>> import numpy as np
    >>> fold(np.ones((4, 4)), 3, 2)[0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    name = "fold"
    nd = _arguments.spatial_rank(name, output_size=output_size, kernel_size=kernel_size)
    kernel = _arguments.size(name, "kernel_size", kernel_size, nd, 1)
    size = _arguments.size(name, "output_size", output_size, nd)
    call = Parameters(name, nd, stride, padding, dilation, 1, "channels_first")
    columns = _arrays.array(name, "columns", columns)
    if columns.ndim not in (2, 3):
        raise ValueError(
            f"{name}: columns must have 3 axes (N, C * prod(kernel_size), positions), "
            f"or 2 without N, got shape {columns.shape}"
        )
    before, positions = call.conv_sizes(size, kernel)
    *batch, rows, places = columns.shape
    if rows % prod(kernel):
        raise ValueError(
            f"{name}: columns has {rows} rows, which the {prod(kernel)} elements of "
            f"kernel_size {kernel} do not divide"
        )
    if places != prod(positions):
        raise ValueError(
            f"{name}: columns must have {prod(positions)} columns, for windows at {positions} "
            f"positions, got {places}"
        )
    x = _arrays.compute(
        name,
        _fold,
        (*(batch or (1,)), rows // prod(kernel), *size),
        _arrays.promoted(columns),
        (columns if batch else columns[None],),
        (kernel, positions, call.stride, before, call.dilation),
    )
    return x if batch else x[0]
