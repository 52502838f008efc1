r"""Lesson D: one transposed convolution, computed in three ways.

*As scatter.* Every element of X throws the kernel, scaled by it, onto the output; the windows of
neighbours start :math:`s` apart and add up where they overlap (`transposed_conv`):

.. math:: Y_{si+du-p,\; sj+dv-p} \mathrel{+}= X_{ij} K_{uv}

*As a matrix.* A convolution is linear, so some matrix W does it: row (i, j) holds the kernel's
elements where window (i, j) lies, and zeros elsewhere. W maps a plane of Y's size to one of X's, so
``W.T`` maps X's size to Y's: **column (i, j) of W.T is the window onto which X[i, j] throws the
kernel**. That is the scatter, and where the name comes from (`conv_matrix`, `column_vector`).

*As rows.* A convolution gathers every window as a row (`im2rows`) and multiplies. Transposed:
multiply first, which makes for every element the row that it throws, and then sum the rows back
into their windows (`rows2im`, the adjoint of `im2rows`). So `transposed_conv2d` works.

Sizes
-----
A strided convolution throws information away: with stride s, up to s input sizes give one output
size. Going back, the size must therefore be told; `output_padding` is by how much it exceeds the
smallest one, and `output_padding_for` works it out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import convlab
from convlab import _arguments
from convlab._axes import array_with_axes, transposed_margins

__all__ = [
    "column_vector",
    "conv_matrix",
    "im2rows",
    "output_padding_for",
    "rows2im",
    "transposed_conv",
    "transposed_conv2d",
]

Pair = int | tuple[int, ...]  # one for both axes, or height, width


def transposed_conv(
    X: ArrayLike,
    K: ArrayLike,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
) -> np.ndarray:
    """Scatter: let every element of a plane throw the kernel onto the output.

    Parameters
    ----------
    X : array_like, shape (h, w)
        The plane.
    K : array_like, shape (kh, kw)
        The kernel.
    stride : int or pair of ints, default 1
        Distance between the windows of neighbouring elements.
    padding : int or pair of ints, default 0
        Rows and columns cut off each side of the full output.
    output_padding : int or pair of ints, default 0
        Rows and columns more at the output's end; smaller than stride or dilation.
    dilation : int or pair of ints, default 1
        Distance between neighbouring elements of the kernel.

    Returns
    -------
    numpy.ndarray, shape (h_out, w_out)
        Per axis ``stride*(n-1) + dilation*(k-1) + 1 - 2*padding + output_padding`` long.

    Raises
    ------
    ValueError
        If an argument is not a plane or a number is out of its range.

    Notes
    -----
    Equation (6a) of docs/math.md.

    Examples
    --------
    >>> X = np.array([[0, 1], [2, 3]])
    >>> transposed_conv(X, X)
    array([[ 0.,  0.,  1.],
           [ 0.,  4.,  6.],
           [ 4., 12.,  9.]])

    With a stride above the kernel's size the windows do not touch; the last row and column here are
    output_padding, out of every window's reach:

    >>> transposed_conv(X, np.ones((2, 2)), stride=3, output_padding=1)
    array([[0., 0., 0., 1., 1., 0.],
           [0., 0., 0., 1., 1., 0.],
           [0., 0., 0., 0., 0., 0.],
           [2., 2., 0., 3., 3., 0.],
           [2., 2., 0., 3., 3., 0.],
           [0., 0., 0., 0., 0., 0.]])
    """
    X = array_with_axes("transposed_conv", "X", X, "h w")
    K = array_with_axes("transposed_conv", "K", K, "kh kw")
    Y: np.ndarray = convlab.conv_transpose2d(
        X[None],
        K[None, None],
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
    )[0]
    return Y


def column_vector(x: ArrayLike) -> np.ndarray:
    """Write a plane as one column, row after row.

    Parameters
    ----------
    x : array_like, shape (h, w)
        The plane.

    Returns
    -------
    numpy.ndarray, shape (h*w, 1)
        The column.

    Raises
    ------
    ValueError
        If `x` is not a plane.

    Examples
    --------
    >>> column_vector([[1, 2], [3, 4]])
    array([[1],
           [2],
           [3],
           [4]])
    """
    return array_with_axes("column_vector", "x", x, "h w").reshape(-1, 1)


def conv_matrix(
    k: ArrayLike,
    stride: Pair = 1,
    input_size: Pair = 128,
    padding: Pair = 0,
    dilation: Pair = 1,
    output_padding: Pair = 0,
    *,
    sparse: bool = False,
) -> tuple[Any, Pair]:
    """Write a convolution as a matrix W, whose transpose does the transposed convolution.

    With X of `input_size`, ``Y = W.T @ column_vector(X)`` is `transposed_conv` of X as a column,
    and ``W @ column_vector(Y)`` is the convolution of a Y of the size returned.

    Parameters
    ----------
    k : array_like, shape (kh, kw)
        The kernel.
    stride : int or pair of ints, default 1
        Distance between the windows of neighbouring elements of X.
    input_size : int or pair of ints, default 128
        Height and width of X; an int is the side of a square. The matrix has as many elements as X
        has times as many as Y has: at the default size a dense one fills 2 GiB.
    padding, dilation, output_padding : int or pair of ints
        As in `transposed_conv`.
    sparse : bool, default False
        Return a SciPy sparse matrix (CSR), which holds only what is not zero.

    Returns
    -------
    W : numpy.ndarray or scipy.sparse.csr_array, shape (h*w, h_out*w_out)
        The convolution matrix.
    output_size : int or pair of ints
        Height and width of Y: an int if `input_size` is one and Y is square too.

    Raises
    ------
    ValueError
        If `k` is not a plane or a number is out of its range.

    Notes
    -----
    Equation (16) of docs/math.md.

    Examples
    --------
    >>> K = np.arange(9).reshape(3, 3)
    >>> X = np.arange(36).reshape(6, 6)
    >>> W, output_size = conv_matrix(K, input_size=6)
    >>> W.T.shape, output_size
    ((64, 36), 8)
    >>> Y = (W.T @ column_vector(X)).reshape(8, 8)
    >>> np.array_equal(Y, transposed_conv(X, K))
    True
    """
    weight = array_with_axes("conv_matrix", "k", k, "kh kw")[None, None]
    size = _arguments.size("conv_matrix", "input_size", input_size, 2)
    # The convolution that W is takes Y without its output_padding: then it has just X's positions.
    margins = transposed_margins("conv_matrix", padding, output_padding)
    _, *output = convlab.conv_transpose_output_shape(
        (1, *size),
        weight.shape,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
    )
    W = convlab.conv_matrix2d(
        weight, (1, *output), stride=stride, padding=margins, dilation=dilation, sparse=sparse
    )
    height, width = output
    is_square = height == width and not _arguments.is_sequence(input_size)
    return W, height if is_square else (height, width)


def output_padding_for(
    output_size: Pair,
    input_size: Pair,
    kernel_size: Pair,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
) -> Pair:
    """Work out the output_padding with which a transposed convolution has a wanted output size.

    Parameters
    ----------
    output_size : int or pair of ints
        The size wanted.
    input_size, kernel_size : int or pair of ints
        Sizes of the input and the kernel.
    stride, padding, dilation : int or pair of ints
        As in `transposed_conv`.

    Returns
    -------
    int or pair of ints
        How far the size wanted exceeds the smallest: an int if it is the same on both axes and
        `output_size` is an int.

    Raises
    ------
    ValueError
        If no output_padding gives that size; the message says which sizes there are.

    Notes
    -----
    Equation (11) of docs/math.md.

    Examples
    --------
    A convolution of kernel 3, stride 2 and padding 1 makes 4 out of 7 and out of 8. On the way
    back, 8 must be asked for:

    >>> output_padding_for(7, 4, 3, stride=2, padding=1)
    0
    >>> output_padding_for(8, 4, 3, stride=2, padding=1)
    1
    """
    name = "output_padding_for"
    wanted = _arguments.size(name, "output_size", output_size, 2)
    shapes = (
        (1, *_arguments.size(name, "input_size", input_size, 2)),
        (1, 1, *_arguments.size(name, "kernel_size", kernel_size, 2, 1)),
    )
    geometry: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    _, *smallest = convlab.conv_transpose_output_shape(*shapes, **geometry)
    _, *reached = convlab.conv_transpose_output_shape(*shapes, output_size=wanted, **geometry)
    height, width = (n - least for n, least in zip(reached, smallest, strict=True))
    is_square = height == width and not _arguments.is_sequence(output_size)
    return height if is_square else (height, width)


def im2rows(
    x: ArrayLike, kernel_size: Pair, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1
) -> np.ndarray:
    """Lay every window of a batch out as a row.

    Parameters
    ----------
    x : array_like, shape (m, C, H, W)
        The batch.
    kernel_size : int or pair of ints
        Size of the window.
    stride : int or pair of ints, default 1
        Step of the window.
    padding : int or pair of ints, default 0
        Zeros round the batch.
    dilation : int or pair of ints, default 1
        Distance between neighbouring elements of the window.

    Returns
    -------
    numpy.ndarray, shape (m, positions, C*kh*kw)
        Row by row the windows, each in the order channel, height, width. The last two axes of
        `convlab.unfold` (and torch's) stand the other way round.

    Raises
    ------
    ValueError
        If `x` does not have four axes or the window is larger than the padded batch.

    See Also
    --------
    rows2im : The adjoint.

    Notes
    -----
    Equation (0) of docs/math.md.

    Examples
    --------
    >>> im2rows(np.arange(9).reshape(1, 1, 3, 3), 2)[0]
    array([[0., 1., 3., 4.],
           [1., 2., 4., 5.],
           [3., 4., 6., 7.],
           [4., 5., 7., 8.]])
    """
    x = array_with_axes("im2rows", "x", x, "m C H W")
    kernel = _arguments.size("im2rows", "kernel_size", kernel_size, 2, 1)
    columns = convlab.unfold(x, kernel, stride=stride, padding=padding, dilation=dilation)
    return columns.swapaxes(1, 2)


def rows2im(
    rows: ArrayLike,
    output_size: Pair,
    kernel_size: Pair,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
) -> np.ndarray:
    """Sum rows back into the windows that `im2rows` took them from.

    It is the adjoint of `im2rows` and not its inverse: where windows overlap, they add up.

    Parameters
    ----------
    rows : array_like, shape (m, positions, C*kh*kw)
        As `im2rows` makes them.
    output_size : int or pair of ints
        Height and width of the result.
    kernel_size, stride, padding, dilation : int or pair of ints
        As in `im2rows`.

    Returns
    -------
    numpy.ndarray, shape (m, C, H, W)
        The sums.

    Raises
    ------
    ValueError
        If `rows` does not have three axes, or not as many rows as there are windows.

    See Also
    --------
    im2rows : The adjoint.

    Notes
    -----
    Equation (0) of docs/math.md.

    Examples
    --------
    Every element comes back once for each window that holds it:

    >>> rows2im(im2rows(np.ones((1, 1, 3, 3)), 2), 3, 2)[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    rows = array_with_axes("rows2im", "rows", rows, "m positions C*kh*kw")
    return convlab.fold(
        rows.swapaxes(1, 2),
        _arguments.size("rows2im", "output_size", output_size, 2),
        _arguments.size("rows2im", "kernel_size", kernel_size, 2, 1),
        stride=stride,
        padding=padding,
        dilation=dilation,
    )


def transposed_conv2d(
    image: ArrayLike, filters: ArrayLike, dilation: Pair = 1, stride: Pair = 1
) -> np.ndarray:
    """Convolve a batch, transposed, through rows: multiply, then sum the rows into their windows.

    Every element of an image, with all its channels, times the filters is the row of numbers that
    it throws; `rows2im` puts the rows in their places.

    Parameters
    ----------
    image : array_like, shape (m, n_filters, H, W)
        The batch, one channel for each filter.
    filters : array_like, shape (n_filters, C_out, kh, kw)
        The filters.
    dilation : int or pair of ints, default 1
        Distance between neighbouring elements of a filter.
    stride : int or pair of ints, default 1
        Distance between the windows of neighbouring elements.

    Returns
    -------
    numpy.ndarray, shape (m, C_out, H_out, W_out)
        Per axis ``stride*(n-1) + dilation*(k-1) + 1`` long.

    Raises
    ------
    ValueError
        If shapes do not fit together, or a dilation or stride is not at least 1.

    Notes
    -----
    Equation (6) of docs/math.md.

    Examples
    --------
    >>> image = np.array([[1, 2]]).reshape(1, 1, 1, 2)
    >>> filters = np.array([[1, 10]]).reshape(1, 1, 1, 2)
    >>> transposed_conv2d(image, filters, dilation=1, stride=2)[0, 0]
    array([[ 1., 10.,  2., 20.]])
    >>> transposed_conv2d(image, filters, dilation=(1, 3), stride=1)[0, 0]
    array([[ 1.,  2.,  0., 10., 20.]])
    """
    image = array_with_axes("transposed_conv2d", "image", image, "m n_filters H W")
    filters = array_with_axes("transposed_conv2d", "filters", filters, "n_filters C_out kh kw")
    geometry: dict[str, Any] = {"dilation": dilation, "stride": stride}
    output_shape = convlab.conv_transpose_output_shape(image.shape, filters.shape, **geometry)
    pixels = im2rows(image, 1)
    rows = pixels @ filters.reshape(len(filters), -1)
    return rows2im(rows, output_shape[2:], filters.shape[2:], **geometry)
