# The 24 functions that _define makes, with the types of their arguments.
from typing import SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike

from convlab._types import Ints, Layout, Needs, Padding, Sizes

_All = tuple[np.ndarray, np.ndarray, np.ndarray]
_Some = tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]

def _conv(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    layout: Layout = "channels_first",
    out: np.ndarray | None = None,
) -> np.ndarray: ...
@overload
def _conv_backward(
    dy: ArrayLike,
    x: ArrayLike,
    w: ArrayLike,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    layout: Layout = "channels_first",
) -> _All: ...
@overload
def _conv_backward(
    dy: ArrayLike,
    x: ArrayLike,
    w: ArrayLike,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    layout: Layout = "channels_first",
    needs: Needs,
) -> _Some: ...
def _conv_grad_input(
    dy: ArrayLike,
    w: ArrayLike,
    input_shape: Sizes,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    layout: Layout = "channels_first",
    out: np.ndarray | None = None,
) -> np.ndarray: ...
def _conv_grad_weight(
    dy: ArrayLike,
    x: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    layout: Layout = "channels_first",
    out: np.ndarray | None = None,
) -> np.ndarray: ...
def _conv_transpose(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    output_size: Ints | None = None,
    layout: Layout = "channels_first",
    out: np.ndarray | None = None,
) -> np.ndarray: ...
@overload
def _conv_transpose_backward(
    dy: ArrayLike,
    x: ArrayLike,
    w: ArrayLike,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints | None = None,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    output_size: Ints | None = None,
    layout: Layout = "channels_first",
) -> _All: ...
@overload
def _conv_transpose_backward(
    dy: ArrayLike,
    x: ArrayLike,
    w: ArrayLike,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints | None = None,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    output_size: Ints | None = None,
    layout: Layout = "channels_first",
    needs: Needs,
) -> _Some: ...
def _conv_transpose_grad_input(
    dy: ArrayLike,
    w: ArrayLike,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints | None = None,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    output_size: Ints | None = None,
    layout: Layout = "channels_first",
    out: np.ndarray | None = None,
) -> np.ndarray: ...
def _conv_transpose_grad_weight(
    dy: ArrayLike,
    x: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints | None = None,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    output_size: Ints | None = None,
    layout: Layout = "channels_first",
    out: np.ndarray | None = None,
) -> np.ndarray: ...

conv1d = _conv
conv1d_backward = _conv_backward
conv1d_grad_input = _conv_grad_input
conv1d_grad_weight = _conv_grad_weight
conv_transpose1d = _conv_transpose
conv_transpose1d_backward = _conv_transpose_backward
conv_transpose1d_grad_input = _conv_transpose_grad_input
conv_transpose1d_grad_weight = _conv_transpose_grad_weight
conv2d = _conv
conv2d_backward = _conv_backward
conv2d_grad_input = _conv_grad_input
conv2d_grad_weight = _conv_grad_weight
conv_transpose2d = _conv_transpose
conv_transpose2d_backward = _conv_transpose_backward
conv_transpose2d_grad_input = _conv_transpose_grad_input
conv_transpose2d_grad_weight = _conv_transpose_grad_weight
conv3d = _conv
conv3d_backward = _conv_backward
conv3d_grad_input = _conv_grad_input
conv3d_grad_weight = _conv_grad_weight
conv_transpose3d = _conv_transpose
conv_transpose3d_backward = _conv_transpose_backward
conv_transpose3d_grad_input = _conv_transpose_grad_input
conv_transpose3d_grad_weight = _conv_transpose_grad_weight
