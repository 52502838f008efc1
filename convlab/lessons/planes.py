r"""Lesson E: from two planes to batches, and the gradient of the weights.

Everything begins with two planes, A and a smaller B that slides over it in steps of the stride:

.. math:: C_{ij} = \sum_{u,v} A_{si+u,\; sj+v} \, B_{uv}

A convolution of batches is this correlation for every image, input channel and output channel,
summed over the input channels. Its gradients are those of the planes, summed in the same way.
With :math:`dC = \partial L / \partial C`:

.. math:: dB_{uv} = \sum_{i,j} dC_{ij} \, A_{si+u,\; sj+v}
          \qquad
          dA_{yx} = \sum_{i,j} dC_{ij} \, B_{y-si,\; x-sj}

:math:`dB` is a correlation of A with :math:`dC`, whose elements lie :math:`s` apart on A; what B
did not reach, because the stride stopped short of A's end, has no part in it, and its :math:`dA` is
zero. Kernels and strides may differ between height and width throughout.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

import convlab
from convlab._axes import array_with_axes

__all__ = [
    "convolution_grad",
    "convolve",
    "cross_correlate",
    "cross_correlation_grad",
    "cross_correlation_input_grad",
]

Stride = int | tuple[int, int]


def cross_correlate(A: ArrayLike, B: ArrayLike, stride: Stride = 1) -> np.ndarray:
    """Slide one plane over another.

    Parameters
    ----------
    A : array_like, shape (H, W)
        The larger plane.
    B : array_like, shape (kh, kw)
        The plane that slides.
    stride : int or pair of ints, default 1
        Its step.

    Returns
    -------
    numpy.ndarray, shape (H_out, W_out)
        For every place the sum of the products.

    Raises
    ------
    ValueError
        If an argument is not a plane, B is larger than A, or a stride is not positive.

    Notes
    -----
    Equation (1) of docs/math.md.

    Examples
    --------
    >>> A = np.arange(1, 50).reshape(7, 7)
    >>> B = np.array([[1, 2], [3, 4]])
    >>> cross_correlate(A, B, stride=2)
    array([[ 65.,  85., 105.],
           [205., 225., 245.],
           [345., 365., 385.]])
    """
    A = array_with_axes("cross_correlate", "A", A, "H W")
    B = array_with_axes("cross_correlate", "B", B, "kh kw")
    C: np.ndarray = convlab.conv2d(A[None], B[None, None], stride=stride)[0]
    return C


def convolve(
    x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: Stride = 1
) -> np.ndarray:
    """Convolve a batch: `cross_correlate` for every pair of channels, summed over the input's.

    ``out[n, o]`` is ``bias[o]`` plus the sum over c of
    ``cross_correlate(x[n, c], weight[o, c], stride)``.

    Parameters
    ----------
    x : array_like, shape (N, C_in, H, W)
        The batch.
    weight : array_like, shape (C_out, C_in, kh, kw)
        The weights.
    bias : array_like, shape (C_out,), optional
        The bias.
    stride : int or pair of ints, default 1
        Step of the window.

    Returns
    -------
    numpy.ndarray, shape (N, C_out, H_out, W_out)
        The output.

    Raises
    ------
    ValueError
        If shapes or sizes do not fit together.

    Notes
    -----
    Equation (1) of docs/math.md.

    Examples
    --------
    >>> convolve(np.ones((14, 4, 32, 35)), np.ones((5, 4, 3, 2)), np.zeros(5), stride=2).shape
    (14, 5, 15, 17)
    """
    x = array_with_axes("convolve", "x", x, "N C_in H W")
    weight = array_with_axes("convolve", "weight", weight, "C_out C_in kh kw")
    return convlab.conv2d(x, weight, bias, stride=stride)


def cross_correlation_grad(
    A: ArrayLike, B: ArrayLike, C_grad: ArrayLike, stride: Stride = 1
) -> np.ndarray:
    """Differentiate `cross_correlate` with respect to B.

    Parameters
    ----------
    A : array_like, shape (H, W)
        The larger plane.
    B : array_like, shape (kh, kw)
        The plane that slid over it; only its shape matters, since C is linear in B.
    C_grad : array_like, shape (H_out, W_out)
        The gradient of the loss with respect to the result.
    stride : int or pair of ints, default 1
        The step.

    Returns
    -------
    numpy.ndarray, shape (kh, kw)
        dB.

    Raises
    ------
    ValueError
        If an argument is not a plane or `C_grad` has not the result's shape.

    See Also
    --------
    cross_correlation_input_grad : The gradient with respect to A.

    Notes
    -----
    Equation (3) of docs/math.md.

    Examples
    --------
    >>> A = np.array(
    ...     [
    ...         [5, 27, 9, -15, 12],
    ...         [2, 4, -2, -7, 8],
    ...         [-8, 16, 5, 23, -6],
    ...         [-17, 7, 9, -14, 3],
    ...         [10, -5, 13, 6, -11],
    ...     ]
    ... )
    >>> B = np.array([[8, 4], [2, 6]])
    >>> cross_correlate(A, B, stride=2)
    array([[176., -34.],
           [  8.,  66.]])
    >>> cross_correlation_grad(A, B, np.ones((2, 2)), stride=2)
    array([[ 11.,  51.],
           [ -8., -10.]])
    """
    A = array_with_axes("cross_correlation_grad", "A", A, "H W")
    B = array_with_axes("cross_correlation_grad", "B", B, "kh kw")
    C_grad = array_with_axes("cross_correlation_grad", "C_grad", C_grad, "H_out W_out")
    dB: np.ndarray = convlab.conv2d_grad_weight(C_grad[None], A[None], B.shape, stride=stride)[0, 0]
    return dB


def cross_correlation_input_grad(
    A: ArrayLike, B: ArrayLike, C_grad: ArrayLike, stride: Stride = 1
) -> np.ndarray:
    """Differentiate `cross_correlate` with respect to A.

    Parameters
    ----------
    A : array_like, shape (H, W)
        The larger plane; only its shape matters, since C is linear in A.
    B : array_like, shape (kh, kw)
        The plane that slid over it.
    C_grad : array_like, shape (H_out, W_out)
        The gradient of the loss with respect to the result.
    stride : int or pair of ints, default 1
        The step.

    Returns
    -------
    numpy.ndarray, shape (H, W)
        dA; zero wherever B never came.

    Raises
    ------
    ValueError
        If an argument is not a plane or `C_grad` has not the result's shape.

    See Also
    --------
    cross_correlation_grad : The gradient with respect to B.

    Notes
    -----
    Equation (2) of docs/math.md.

    Examples
    --------
    >>> B = np.array([[8, 4], [2, 6]])
    >>> cross_correlation_input_grad(np.zeros((5, 5)), B, np.ones((2, 2)), stride=2)
    array([[8., 4., 8., 4., 0.],
           [2., 6., 2., 6., 0.],
           [8., 4., 8., 4., 0.],
           [2., 6., 2., 6., 0.],
           [0., 0., 0., 0., 0.]])
    """
    A = array_with_axes("cross_correlation_input_grad", "A", A, "H W")
    B = array_with_axes("cross_correlation_input_grad", "B", B, "kh kw")
    C_grad = array_with_axes("cross_correlation_input_grad", "C_grad", C_grad, "H_out W_out")
    shape = (1, *A.shape)
    dA: np.ndarray = convlab.conv2d_grad_input(C_grad[None], B[None, None], shape, stride=stride)[0]
    return dA


def convolution_grad(
    x: ArrayLike, weight: ArrayLike, output_grad: ArrayLike, stride: Stride = 1
) -> np.ndarray:
    """Differentiate `convolve` with respect to the weights.

    ``dW[o, c]`` is the sum over n of
    ``cross_correlation_grad(x[n, c], weight[o, c], output_grad[n, o], stride)``.

    Parameters
    ----------
    x : array_like, shape (N, C_in, H, W)
        The batch.
    weight : array_like, shape (C_out, C_in, kh, kw)
        The weights; only their shape matters, since the output is linear in them.
    output_grad : array_like, shape (N, C_out, H_out, W_out)
        The gradient of the loss with respect to the output.
    stride : int or pair of ints, default 1
        Step of the window.

    Returns
    -------
    numpy.ndarray, shape (C_out, C_in, kh, kw)
        dW.

    Raises
    ------
    ValueError
        If shapes or sizes do not fit together.

    Notes
    -----
    Equation (3) of docs/math.md.

    Examples
    --------
    >>> x, weight = np.ones((14, 4, 32, 35)), np.ones((5, 4, 3, 2))
    >>> dW = convolution_grad(x, weight, np.ones((14, 5, 15, 17)), stride=2)
    >>> dW.shape, float(dW.max()) == 14 * 15 * 17
    ((5, 4, 3, 2), True)
    """
    x = array_with_axes("convolution_grad", "x", x, "N C_in H W")
    weight = array_with_axes("convolution_grad", "weight", weight, "C_out C_in kh kw")
    output_grad = array_with_axes(
        "convolution_grad", "output_grad", output_grad, "N C_out H_out W_out"
    )
    _, dW, _ = convlab.conv2d_backward(output_grad, x, weight, stride=stride, needs=("weight",))
    assert dW is not None  # it is what is needed
    return dW
