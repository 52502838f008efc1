"""Layers that hold a kernel and a bias and remember their last forward pass.

All three work on channels-last batches (m, H, W, C) and keep their kernel as (k, k, C_in, C_out).
They are bookkeeping round the functional API: sizes, messages and arithmetic are all its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from convlab import _arguments, _arrays
from convlab._axes import array_with_axes, transposed_margins
from convlab._functional import (
    conv2d,
    conv2d_backward,
    conv_transpose2d,
    conv_transpose2d_backward,
)

Gradients = tuple[np.ndarray, np.ndarray, np.ndarray]


def rotate180(matrix: ArrayLike) -> np.ndarray:
    """Turn a kernel by 180 degrees in its two spatial axes.

    Only the picture is turned: the channel axes stay as they are, since a kernel turned there too
    would connect other channels.

    Parameters
    ----------
    matrix : array_like, shape (kh, kw, C_in, C_out)
        The kernel.

    Returns
    -------
    numpy.ndarray, shape (kh, kw, C_in, C_out)
        A view: element [u, v] is ``matrix[kh - 1 - u, kw - 1 - v]``.

    Raises
    ------
    ValueError
        If `matrix` does not have four axes.

    Examples
    --------
    >>> kernel = np.array([[3, 1, 2], [2, 0, 0], [5, 4, 7]]).reshape(3, 3, 1, 1)
    >>> rotate180(kernel)[:, :, 0, 0]
    array([[7, 4, 5],
           [0, 0, 2],
           [2, 1, 3]])
    """
    matrix = _arrays.array("rotate180", "matrix", matrix)
    return array_with_axes("rotate180", "matrix", matrix, "kh kw C_in C_out")[::-1, ::-1]


def _real(layer: str, name: str, value: ArrayLike) -> np.ndarray:
    array = _arrays.array(layer, name, value)
    if array.dtype.kind == "c":
        raise TypeError(f"{layer}: {name} must be an array of real numbers, got {array.dtype}")
    return array


def _floating_copy(array: np.ndarray) -> np.ndarray:
    """Copy in floating point: the caller's own array stays his."""
    return array.astype(array.dtype if array.dtype.kind == "f" else np.float64)


class _LastForward(NamedTuple):
    """What `backward` needs to know of `forward`; the weights are those of that moment."""

    x: np.ndarray
    w: np.ndarray
    output_shape: tuple[int, ...]
    geometry: dict[str, Any]


class _Layer2D:
    """Parameters, the memory of the last forward pass, and the checks that all layers share.

    A layer says which operation it is by `_operate` and `_differentiate`, with the signatures of
    `conv2d` and `conv2d_backward`, and by `_geometry`, the keywords that it calls both with.
    """

    _options: ClassVar[tuple[str, ...]]
    _operate: ClassVar[Callable[..., np.ndarray]]
    _differentiate: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        rng: int | np.random.Generator | None,
    ) -> None:
        name = type(self).__name__
        size = _arguments.integer(name, "the kernel size", kernel_size, 1)
        channels_in = _arguments.integer(name, "the number of input channels", in_channels, 1)
        channels_out = _arguments.integer(name, "the number of output channels", out_channels, 1)
        shape = (size, size, channels_in, channels_out)
        self._kernel = _arrays.allocate(name, shape, np.dtype(np.float64))
        np.random.default_rng(rng).standard_normal(out=self._kernel)
        self._b = np.zeros(channels_out)
        self._last: _LastForward | None = None

    @property
    def kernel(self) -> np.ndarray:
        """The weights, (k, k, C_in, C_out). Assigning copies; the shape must stay the same."""
        return self._kernel

    @kernel.setter
    def kernel(self, value: ArrayLike) -> None:
        name = type(self).__name__
        kernel = _real(name, "kernel", value)
        if kernel.shape != self._kernel.shape:
            raise ValueError(
                f"{name}: kernel must have shape {self._kernel.shape} (k, k, C_in, C_out), "
                f"got {kernel.shape}"
            )
        self._kernel = _floating_copy(kernel)

    @property
    def b(self) -> np.ndarray:
        """The bias, (C_out,). Assigning copies; further axes of length 1 are dropped."""
        return self._b

    @b.setter
    def b(self, value: ArrayLike) -> None:
        name = type(self).__name__
        bias = _real(name, "b", value)
        if max(bias.shape, default=1) != self._b.size or bias.size != self._b.size:
            raise ValueError(f"{name}: b must have shape {self._b.shape}, got {bias.shape}")
        self._b = _floating_copy(bias).reshape(self._b.shape)

    def forward(self, A_prev: ArrayLike) -> np.ndarray:
        """Apply the layer to a batch and remember the batch for `backward`.

        Parameters
        ----------
        A_prev : array_like, shape (m, H, W, C_in)
            The batch. It is remembered, not copied: leave it as it is until `backward`.

        Returns
        -------
        numpy.ndarray, shape (m, H_out, W_out, C_out)
            In the dtype of `A_prev`, whatever the dtype of the parameters; float64 for integers.

        Raises
        ------
        ValueError
            If `A_prev` does not have four axes or its channels are not the layer's.
        """
        caller = f"{type(self).__name__}.forward"
        x = array_with_axes(caller, "A_prev", A_prev, "m H W C")
        dtype = x.dtype if x.dtype.kind in "fc" else np.float64
        w = self._kernel.astype(dtype)
        geometry = {**self._geometry(), "layout": "channels_last"}
        z = self._operate(x, w, self._b.astype(dtype), **geometry)
        self._last = _LastForward(x, w, z.shape, geometry)
        return z

    def backward(self, dZ: ArrayLike) -> Gradients:
        """Differentiate the last forward pass.

        Parameters
        ----------
        dZ : array_like, shape (m, H_out, W_out, C_out)
            The gradient of the loss with respect to what `forward` returned.

        Returns
        -------
        dA : numpy.ndarray, shape (m, H, W, C_in)
            The gradient with respect to the batch.
        dW : numpy.ndarray, shape (k, k, C_in, C_out)
            The gradient with respect to the kernel that `forward` used.
        db : numpy.ndarray, shape (C_out,)
            The gradient with respect to the bias.

        Raises
        ------
        RuntimeError
            If there was no forward pass yet.
        ValueError
            If `dZ` has another shape than the output of the last forward pass.
        TypeError
            If `dZ` is complex and the batch was not.
        """
        caller = f"{type(self).__name__}.backward"
        if self._last is None:
            raise RuntimeError(f"{caller}: call forward first, there is nothing to differentiate")
        x, w, shape, geometry = self._last
        dz = _arrays.array(caller, "dZ", dZ)
        if dz.shape != shape:
            raise ValueError(
                f"{caller}: dZ must have the shape of the last output, {shape}, got {dz.shape}"
            )
        if not np.can_cast(dz.dtype, w.dtype, casting="same_kind"):
            raise TypeError(f"{caller}: dZ is {dz.dtype}, but the last forward was {w.dtype}")
        dA, dW, db = self._differentiate(dz.astype(w.dtype, copy=False), x, w, **geometry)
        return dA, dW, db

    def _geometry(self) -> dict[str, Any]:
        raise NotImplementedError

    def __repr__(self) -> str:
        size, _, channels_in, channels_out = self._kernel.shape
        options = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._options)
        return f"{type(self).__name__}({channels_in}, {channels_out}, {size}, {options})"


class Conv2D(_Layer2D):
    """A convolution layer: every output is a weighted sum over a k x k window and all channels.

    Parameters
    ----------
    prev_channels, next_channels : int
        Channels of the input and of the output.
    kernel : int, default 3
        Side k of the window.
    stride : int or pair of ints, default 1
        Step of the window.
    pad : int, or any padding that `convlab.conv2d` takes, default 0
        Zeros round the input.
    rng : int or numpy.random.Generator, optional
        Seed or source of the initial kernel.

    Attributes
    ----------
    kernel : numpy.ndarray, shape (k, k, prev_channels, next_channels)
        The weights, drawn from the standard normal distribution.
    b : numpy.ndarray, shape (next_channels,)
        The bias, zeros at first.
    stride, pad : int or tuple
        As given.

    Raises
    ------
    ValueError
        If a size is smaller than 1.
    TypeError
        If a size is not an int.
    MemoryError
        If the kernel is too large for this machine.

    Notes
    -----
    Equations (1) to (4) of docs/math.md.

    Examples
    --------
    >>> layer = Conv2D(1, 1, kernel=2)
    >>> layer.kernel = np.array([[1, 0], [0, 1]]).reshape(2, 2, 1, 1)
    >>> layer.b = np.array([10])
    >>> layer.forward(np.arange(9).reshape(1, 3, 3, 1))[0, :, :, 0]
    array([[14., 16.],
           [20., 22.]])
    >>> dA, dW, db = layer.backward(np.ones((1, 2, 2, 1)))
    >>> dA[0, :, :, 0]
    array([[1., 1., 0.],
           [1., 2., 1.],
           [0., 1., 1.]])
    >>> dW[:, :, 0, 0]
    array([[ 8., 12.],
           [20., 24.]])
    >>> db
    array([4.])
    """

    _operate = staticmethod(conv2d)
    _differentiate = staticmethod(conv2d_backward)
    _options = ("stride", "pad")

    def __init__(
        self,
        prev_channels: int,
        next_channels: int,
        kernel: int = 3,
        stride: int | tuple[int, int] = 1,
        pad: int | tuple[Any, ...] | str = 0,
        *,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        super().__init__(prev_channels, next_channels, kernel, rng)
        self.stride = stride
        self.pad = pad

    def _geometry(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.pad}


def _slide_upsampled(x: np.ndarray, w: np.ndarray, b: np.ndarray, **geometry: Any) -> np.ndarray:
    return conv_transpose2d(x, rotate180(w), b, **geometry)


def _slide_upsampled_backward(dz: np.ndarray, x: np.ndarray, w: np.ndarray, **geometry: Any) -> Any:
    dx, dw, db = conv_transpose2d_backward(dz, x, rotate180(w), **geometry)
    return dx, rotate180(dw), db


class Conv2DTranspose(_Layer2D):
    """A transposed convolution layer, defined by up-sampling and an ordinary convolution.

    The input is spread out with ``stride - 1`` zeros between neighbours, ``k - 1 - padding`` zeros
    are put round it, and then the kernel slides over it as it stands. A padding above ``k - 1``
    crops instead.

    That is the scatter of `Conv2DTransposeV2` with the kernel turned by 180 degrees, and so it is
    computed: no zero is ever stored or multiplied.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size : int, default 3
        Side k of the kernel.
    stride : int or pair of ints, default 2
        How far apart neighbouring inputs come to lie.
    padding : int, or one int per axis, default 0
        Rows and columns missing from the full output on each side.
    rng : int or numpy.random.Generator, optional
        Seed or source of the initial kernel.

    Attributes
    ----------
    kernel : numpy.ndarray, shape (k, k, in_channels, out_channels)
        The weights, drawn from the standard normal distribution.
    b : numpy.ndarray, shape (out_channels,)
        The bias, zeros at first.
    stride, padding : int or tuple
        As given.

    Raises
    ------
    ValueError
        If a size is smaller than 1.
    TypeError
        If a size is not an int.
    MemoryError
        If the kernel is too large for this machine.

    Notes
    -----
    Equations (6) to (9) of docs/math.md, with the kernel turned by `rotate180`.

    Examples
    --------
    >>> layer = Conv2DTranspose(1, 1, 3, stride=2, padding=1)
    >>> layer.kernel = np.array([[3, 1, 2], [2, 0, 0], [5, 4, 7]]).reshape(3, 3, 1, 1)
    >>> layer.forward(np.array([[2, 5], [4, 13]]).reshape(1, 2, 2, 1))[0, :, :, 0]
    array([[  0.,   4.,   0.],
           [ 18., 127.,  57.],
           [  0.,   8.,   0.]])
    """

    _operate = staticmethod(_slide_upsampled)
    _differentiate = staticmethod(_slide_upsampled_backward)
    _options = ("stride", "padding")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int | tuple[int, int] = 2,
        padding: int | tuple[Any, ...] = 0,
        *,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, rng)
        self.stride = stride
        self.padding = padding

    def _geometry(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding}


class Conv2DTransposeV2(_Layer2D):
    """A transposed convolution layer in scatter form: every input throws a scaled kernel.

    Input pixel (i, j) adds its value times the kernel to the k x k output window that starts at
    ``(stride * i - padding, stride * j - padding)``; what falls outside is lost.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size : int, default 3
        Side k of the kernel.
    stride : int or pair of ints, default 1
        Distance between the windows of neighbouring inputs.
    padding : int or pair of ints, default 1
        Rows and columns cut off the full output on each side.
    output_padding : int or pair of ints, default 1
        Rows and columns that the output goes on at its end. They take part in the computation, and
        where no window reaches they hold the bias. Any number will do: unlike
        `convlab.conv_transpose2d`, the layer does not ask for less than the stride.
    rng : int or numpy.random.Generator, optional
        Seed or source of the initial kernel.

    Attributes
    ----------
    kernel : numpy.ndarray, shape (k, k, in_channels, out_channels)
        The weights, drawn from the standard normal distribution.
    b : numpy.ndarray, shape (out_channels,)
        The bias, zeros at first.
    stride, padding, output_padding : int or tuple
        As given.

    Raises
    ------
    ValueError
        If a size is smaller than 1.
    TypeError
        If a size is not an int.
    MemoryError
        If the kernel is too large for this machine.

    Notes
    -----
    Equations (6a) to (9) of docs/math.md.

    Examples
    --------
    >>> layer = Conv2DTransposeV2(1, 1, 3, stride=2, padding=1, output_padding=1)
    >>> layer.kernel = np.array([[1, 0, 2], [0, 1, 0], [1, 0, 0]]).reshape(3, 3, 1, 1)
    >>> layer.b = np.array([1])
    >>> layer.forward(np.array([[1, 0], [0, 1]]).reshape(1, 2, 2, 1))[0, :, :, 0]
    array([[2., 1., 1., 1.],
           [1., 2., 1., 3.],
           [1., 1., 2., 1.],
           [1., 2., 1., 1.]])
    """

    _operate = staticmethod(conv_transpose2d)
    _differentiate = staticmethod(conv_transpose2d_backward)
    _options = ("stride", "padding", "output_padding")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 1,
        output_padding: int | tuple[int, int] = 1,
        *,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, rng)
        self.stride = stride
        self.padding = padding
        self.output_padding = output_padding

    def _geometry(self) -> dict[str, Any]:
        margins = transposed_margins(type(self).__name__, self.padding, self.output_padding)
        return {"stride": self.stride, "padding": margins}
