r"""Lesson B: functions on channels-first batches, with a cache from forward to backward.

Data are (m, n_C, H, W), the weights of a convolution (n_C, n_C_prev, f, f), those of a transposed
convolution (n_C_prev, n_C, f, f), and a bias is (n_C, 1, 1, 1). A forward function returns its
result and a cache; the backward function takes the gradient with respect to that result, and the
cache, and returns the gradients with respect to everything that went in.

The smallest step is `apply_filter`: one window, one number. A convolution is that step at every
place of every image with every filter:

.. math:: Z_{mcij} = \mathrm{apply\_filter}(A_{m,\,:,\; si-p : si-p+f,\; sj-p : sj-p+f},\; W_c, b_c)

The transposed convolution goes the other way, one number to one window: every input element adds
its multiple of a filter to the output. Each of the two carries the other's gradient:

=========  ==============================================  =====================================
gradient   of the convolution                              of the transposed convolution
=========  ==============================================  =====================================
dA_prev    transposed convolution of dZ with W             convolution of dZ with W
dW         A_prev's windows, weighted by dZ and summed     dZ's windows, weighted by A_prev
db         dZ, summed over images and places               the same
=========  ==============================================  =====================================

None of them supposes anything about dZ: a loss other than the plain sum of Z has a dZ that is not
all ones, and db is its sum and not the number of its elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

import convlab
from convlab import _arrays
from convlab._axes import array_with_axes

__all__ = [
    "Cache",
    "apply_filter",
    "conv_backward",
    "conv_forward",
    "conv_transpose_backward",
    "conv_transpose_forward",
]

Gradients = tuple[np.ndarray, np.ndarray, np.ndarray]


class Cache(NamedTuple):
    """What a forward function leaves for its backward function.

    Attributes
    ----------
    A_prev, W, b : numpy.ndarray
        The arguments of the forward call.
    options : dict
        Its stride and pad.
    Z_shape : tuple of int
        Shape of what it returned.
    made_by : str
        Its name.
    """

    A_prev: np.ndarray
    W: np.ndarray
    b: np.ndarray
    options: dict[str, Any]
    Z_shape: tuple[int, ...]
    made_by: str


def _forward(
    function: str, compute: Callable[..., np.ndarray], weight_axes: str, operands: Any, options: Any
) -> tuple[np.ndarray, Cache]:
    """Check the operands A_prev, W, b; compute; and keep all in a cache."""
    A_prev = array_with_axes(function, "A_prev", operands[0], "m n_C_prev H W")
    W = array_with_axes(function, "W", operands[1], weight_axes)
    b = _arrays.array(function, "b", operands[2])
    channels = W.shape[weight_axes.split().index("n_C")]
    if b.shape not in ((channels, 1, 1, 1), (channels,)):
        raise ValueError(f"{function}: b must have shape {(channels, 1, 1, 1)}, got {b.shape}")
    Z = compute(A_prev, W, b.reshape(-1), **options)
    return Z, Cache(A_prev, W, b, options, Z.shape, function)


def _backward(
    function: str, compute: Callable[..., Any], made_by: str, dZ: ArrayLike, cache: Cache
) -> Gradients:
    """Check that cache and dZ are those of the forward function `made_by`; compute."""
    if not isinstance(cache, Cache) or cache.made_by != made_by:
        source = cache.made_by if isinstance(cache, Cache) else type(cache).__name__
        raise TypeError(f"{function}: cache must be the one that {made_by} returned, got {source}")
    dZ = _arrays.array(function, "dZ", dZ)
    if dZ.shape != cache.Z_shape:
        raise ValueError(f"{function}: dZ must have Z's shape {cache.Z_shape}, got {dZ.shape}")
    dA_prev, dW, db = compute(dZ, cache.A_prev, cache.W, **cache.options)
    return dA_prev, dW, db.reshape(cache.b.shape)


def apply_filter(a_slice: ArrayLike, W: ArrayLike, b: ArrayLike) -> np.floating:
    """Lay one filter on one window: multiply element by element, sum up, add the bias.

    Parameters
    ----------
    a_slice : array_like, shape (n_C_prev, f, f)
        The window.
    W : array_like, shape (n_C_prev, f, f)
        The filter.
    b : array_like, one element
        The bias, of any shape with one element, such as (1, 1, 1).

    Returns
    -------
    numpy scalar
        One number.

    Raises
    ------
    ValueError
        If the shapes of window and filter differ or `b` has another number of elements.

    Notes
    -----
    Equation (1) of docs/math.md.

    Examples
    --------
    >>> window = np.array([[[1, 2], [3, 4]]])
    >>> W = np.array([[[1, 0], [0, 10]]])
    >>> float(apply_filter(window, W, 100))
    141.0
    """
    a_slice = array_with_axes("apply_filter", "a_slice", a_slice, "n_C_prev f f")
    W = array_with_axes("apply_filter", "W", W, "n_C_prev f f")
    b = _arrays.array("apply_filter", "b", b)
    if a_slice.shape != W.shape:
        raise ValueError(
            f"apply_filter: a_slice and W must have the same shape, "
            f"got {a_slice.shape} and {W.shape}"
        )
    if b.size != 1:
        raise ValueError(f"apply_filter: b must have one element, got shape {b.shape}")
    number: np.floating = convlab.conv2d(a_slice, W[None], b.reshape(1))[0, 0, 0]
    return number


def conv_forward(
    A_prev: ArrayLike,
    W: ArrayLike,
    b: ArrayLike,
    stride: int | tuple[int, int] = 1,
    pad: int | tuple[Any, ...] | str = 0,
) -> tuple[np.ndarray, Cache]:
    """Convolve a batch.

    Parameters
    ----------
    A_prev : array_like, shape (m, n_C_prev, H_prev, W_prev)
        The batch.
    W : array_like, shape (n_C, n_C_prev, f, f)
        The filters.
    b : array_like, shape (n_C, 1, 1, 1)
        The bias of each filter; (n_C,) is taken too.
    stride : int or pair of ints, default 1
        Step of the window.
    pad : int, or any padding that `convlab.conv2d` takes, default 0
        Zeros round the input.

    Returns
    -------
    Z : numpy.ndarray, shape (m, n_C, H, W)
        The output.
    cache : Cache
        For `conv_backward`.

    Raises
    ------
    ValueError
        If shapes or sizes do not fit together.

    Notes
    -----
    Equation (1) of docs/math.md.

    Examples
    --------
    >>> A_prev = np.arange(9).reshape(1, 1, 3, 3)
    >>> W = np.array([[1, 0], [0, 1]]).reshape(1, 1, 2, 2)
    >>> Z, cache = conv_forward(A_prev, W, np.full((1, 1, 1, 1), 10))
    >>> Z[0, 0]
    array([[14., 16.],
           [20., 22.]])
    """
    options = {"stride": stride, "padding": pad}
    return _forward("conv_forward", convlab.conv2d, "n_C n_C_prev f f", (A_prev, W, b), options)


def conv_backward(dZ: ArrayLike, cache: Cache) -> Gradients:
    """Differentiate `conv_forward`.

    Parameters
    ----------
    dZ : array_like, shape (m, n_C, H, W)
        The gradient of the loss with respect to Z; any values.
    cache : Cache
        What `conv_forward` returned.

    Returns
    -------
    dA_prev : numpy.ndarray, shape (m, n_C_prev, H_prev, W_prev)
        The gradient with respect to the batch.
    dW : numpy.ndarray, shape (n_C, n_C_prev, f, f)
        The gradient with respect to the filters.
    db : numpy.ndarray, in the shape of b
        The gradient with respect to the bias.

    Raises
    ------
    ValueError
        If `dZ` has another shape than Z.
    TypeError
        If `cache` is not one of `conv_forward`.

    Notes
    -----
    Equations (2), (3) and (4) of docs/math.md.

    Examples
    --------
    >>> A_prev = np.arange(9).reshape(1, 1, 3, 3)
    >>> W = np.array([[1, 0], [0, 1]]).reshape(1, 1, 2, 2)
    >>> Z, cache = conv_forward(A_prev, W, np.zeros((1, 1, 1, 1)))
    >>> dA_prev, dW, db = conv_backward(np.array([[[[1, 0], [0, 2]]]]), cache)
    >>> dA_prev[0, 0]
    array([[1., 0., 0.],
           [0., 3., 0.],
           [0., 0., 2.]])
    >>> dW[0, 0]
    array([[ 8., 11.],
           [17., 20.]])
    >>> db
    array([[[[3.]]]])
    """
    return _backward("conv_backward", convlab.conv2d_backward, "conv_forward", dZ, cache)


def conv_transpose_forward(
    A_prev: ArrayLike,
    W: ArrayLike,
    b: ArrayLike,
    stride: int | tuple[int, int] = 1,
    pad: int | tuple[Any, ...] | str = 0,
) -> tuple[np.ndarray, Cache]:
    """Convolve a batch, transposed: every element throws a filter.

    Parameters
    ----------
    A_prev : array_like, shape (m, n_C_prev, H_prev, W_prev)
        The batch.
    W : array_like, shape (n_C_prev, n_C, f, f)
        The filters.
    b : array_like, shape (n_C, 1, 1, 1)
        The bias of each output channel; (n_C,) is taken too.
    stride : int or pair of ints, default 1
        Distance between the windows of neighbouring elements.
    pad : int, or any padding that `convlab.conv_transpose2d` takes, default 0
        Rows and columns cut off each side of the output.

    Returns
    -------
    Z : numpy.ndarray, shape (m, n_C, H, W)
        The output.
    cache : Cache
        For `conv_transpose_backward`.

    Raises
    ------
    ValueError
        If shapes or sizes do not fit together.

    Notes
    -----
    Equation (6) of docs/math.md.

    Examples
    --------
    >>> A_prev = np.array([[1, 2]]).reshape(1, 1, 1, 2)
    >>> W = np.array([[1, 2], [3, 4]]).reshape(1, 1, 2, 2)
    >>> Z, cache = conv_transpose_forward(A_prev, W, np.zeros((1, 1, 1, 1)))
    >>> Z[0, 0]
    array([[ 1.,  4.,  4.],
           [ 3., 10.,  8.]])
    """
    options = {"stride": stride, "padding": pad}
    return _forward(
        "conv_transpose_forward",
        convlab.conv_transpose2d,
        "n_C_prev n_C f f",
        (A_prev, W, b),
        options,
    )


def conv_transpose_backward(dZ: ArrayLike, cache: Cache) -> Gradients:
    """Differentiate `conv_transpose_forward`.

    Parameters
    ----------
    dZ : array_like, shape (m, n_C, H, W)
        The gradient of the loss with respect to Z; any values.
    cache : Cache
        What `conv_transpose_forward` returned.

    Returns
    -------
    dA_prev : numpy.ndarray, shape (m, n_C_prev, H_prev, W_prev)
        The gradient with respect to the batch.
    dW : numpy.ndarray, shape (n_C_prev, n_C, f, f)
        The gradient with respect to the filters.
    db : numpy.ndarray, in the shape of b
        The gradient with respect to the bias.

    Raises
    ------
    ValueError
        If `dZ` has another shape than Z.
    TypeError
        If `cache` is not one of `conv_transpose_forward`.

    Notes
    -----
    Equations (7), (8) and (9) of docs/math.md.

    Examples
    --------
    >>> A_prev = np.array([[1, 2]]).reshape(1, 1, 1, 2)
    >>> W = np.array([[1, 2], [3, 4]]).reshape(1, 1, 2, 2)
    >>> Z, cache = conv_transpose_forward(A_prev, W, np.zeros((1, 1, 1, 1)))
    >>> dA_prev, dW, db = conv_transpose_backward(np.array([[[[1, 2, 3], [4, 5, 6]]]]), cache)
    >>> dA_prev[0, 0]
    array([[37., 47.]])
    >>> dW[0, 0]
    array([[ 5.,  8.],
           [14., 17.]])
    >>> db
    array([[[[21.]]]])
    """
    return _backward(
        "conv_transpose_backward",
        convlab.conv_transpose2d_backward,
        "conv_transpose_forward",
        dZ,
        cache,
    )
