r"""Lesson C: one image (H, W, C) and one filter (h, w, C), without a batch.

The filter covers all channels at once, so the output is a plane:

.. math:: y_{ij} = \sum_{u,v,c} x_{i+u,\; j+v,\; c} \, f_{uvc}

With :math:`g = \partial L / \partial y`, every :math:`x_{abc}` entered the :math:`y_{ij}` whose
windows hold it, with factor :math:`f_{a-i,\; b-j,\; c}`:

.. math:: \frac{\partial L}{\partial x_{abc}} = \sum_{i,j} g_{ij} \, f_{a-i,\; b-j,\; c}

This is the *full* convolution of the upstream gradient with the rotated filter: put ``h - 1`` and
``w - 1`` zeros round :math:`g`, turn the filter by 180 degrees, slide. The same sum read from the
side of :math:`g` says that every :math:`g_{ij}` adds its multiple of the filter to the window that
it came from, which is a transposed convolution; so it is computed here.

Every :math:`f_{uvc}` met the input once for each window, so its gradient is a convolution again,
of the image with the upstream gradient as the filter, channel by channel:

.. math:: \frac{\partial L}{\partial f_{uvc}} = \sum_{i,j} g_{ij} \, x_{i+u,\; j+v,\; c}

Both gradients come with their channels in front, (C, H, W) and (C, h, w).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

import convlab
from convlab._axes import array_with_axes

__all__ = ["conv2d_backward", "conv2d_backward_weights", "conv2d_forward"]


def _plane(function: str, upstream: ArrayLike) -> np.ndarray:
    """Return an upstream gradient (h', w', 1) as the plane (h', w')."""
    upstream = array_with_axes(function, "upstream", upstream, "h' w' 1")
    if upstream.shape[-1] != 1:
        raise ValueError(
            f"{function}: upstream must have shape (h', w', 1), one channel for the one filter, "
            f"got {upstream.shape}"
        )
    return upstream[..., 0]


def _channels_first(image: np.ndarray) -> np.ndarray:
    return image.transpose(2, 0, 1)


def conv2d_forward(matrix: ArrayLike, filter: ArrayLike) -> np.ndarray:  # noqa: A002
    """Slide one filter over one image.

    Parameters
    ----------
    matrix : array_like, shape (H, W, C)
        The image.
    filter : array_like, shape (h, w, C)
        The filter.

    Returns
    -------
    numpy.ndarray, shape (H - h + 1, W - w + 1)
        The output.

    Raises
    ------
    ValueError
        If the numbers of channels differ or the filter is larger than the image.

    Notes
    -----
    Equation (1) of docs/math.md.

    Examples
    --------
    >>> conv2d_forward([[[1], [2]], [[3], [4]]], [[[10]], [[2]]])
    array([[16., 28.]])

    All channels are summed into the one plane:

    >>> image = np.arange(1, 13).reshape(2, 2, 3)
    >>> conv2d_forward(image, [[[1, 2, 3]], [[4, 5, 6]]])
    array([[136., 199.]])
    """
    matrix = array_with_axes("conv2d_forward", "matrix", matrix, "H W C")
    weight = array_with_axes("conv2d_forward", "filter", filter, "h w C")[..., None]
    return convlab.conv2d(matrix, weight, layout="channels_last")[..., 0]


def conv2d_backward(upstream: ArrayLike, filter: ArrayLike) -> np.ndarray:  # noqa: A002
    """Differentiate `conv2d_forward` with respect to the image.

    Parameters
    ----------
    upstream : array_like, shape (h', w', 1)
        The gradient of the loss with respect to the output.
    filter : array_like, shape (h, w, C)
        The filter.

    Returns
    -------
    numpy.ndarray, shape (C, h' + h - 1, w' + w - 1)
        The gradient with respect to the image, channels first.

    Raises
    ------
    ValueError
        If an argument has another number of axes, or `upstream` more than one channel.

    Notes
    -----
    Equation (2a) of docs/math.md.

    Examples
    --------
    >>> conv2d_backward([[[1], [2]], [[3], [4]]], [[[1, 2, 3]], [[4, 5, 6]]])
    array([[[ 1.,  2.],
            [ 7., 12.],
            [12., 16.]],
    <BLANKLINE>
           [[ 2.,  4.],
            [11., 18.],
            [15., 20.]],
    <BLANKLINE>
           [[ 3.,  6.],
            [15., 24.],
            [18., 24.]]])
    """
    g = _plane("conv2d_backward", upstream)
    w = array_with_axes("conv2d_backward", "filter", filter, "h w C")
    return convlab.conv_transpose2d(g[None], _channels_first(w)[None])


def conv2d_backward_weights(x: ArrayLike, upstream: ArrayLike) -> np.ndarray:
    """Differentiate `conv2d_forward` with respect to the filter.

    Parameters
    ----------
    x : array_like, shape (H, W, C)
        The image.
    upstream : array_like, shape (h', w', 1)
        The gradient of the loss with respect to the output.

    Returns
    -------
    numpy.ndarray, shape (C, H - h' + 1, W - w' + 1)
        The gradient with respect to the filter, channels first.

    Raises
    ------
    ValueError
        If an argument has another number of axes, `upstream` more than one channel, or `upstream`
        is larger than the image.

    Notes
    -----
    Equation (3) of docs/math.md.

    Examples
    --------
    >>> image = np.arange(1, 13).reshape(2, 2, 3)
    >>> conv2d_backward_weights(image, [[[1], [10]]])
    array([[[ 41.],
            [107.]],
    <BLANKLINE>
           [[ 52.],
            [118.]],
    <BLANKLINE>
           [[ 63.],
            [129.]]])
    """
    x = array_with_axes("conv2d_backward_weights", "x", x, "H W C")
    g = _plane("conv2d_backward_weights", upstream)
    # Each channel is an image of its own that meets the one plane g.
    return convlab.conv2d(_channels_first(x)[:, None], g[None, None])[:, 0]
