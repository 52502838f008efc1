# The 24 functions are made by _define; this says which there are, with their arguments.
from collections.abc import Iterable
from typing import Any

import numpy as np

_Gradients = tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]

def conv1d(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    layout: str = "channels_first",
    out: np.ndarray | None = None,
) -> np.ndarray: ...
def conv1d_backward(
    dy: Any,
    x: Any,
    w: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    layout: str = "channels_first",
    needs: Iterable[str] = ...,
) -> _Gradients: ...
def conv1d_grad_input(
    dy: Any,
    w: Any,
    input_shape: Iterable[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    layout: str = "channels_first",
    out: np.ndarray | None = None,
) -> np.ndarray: ...
def conv1d_grad_weight(
    dy: Any,
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    layout: str = "channels_first",
    out: np.ndarray | None = None,
) -> np.ndarray: ...
def conv_transpose1d(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    output_size: Any = None,
    layout: str = "channels_first",
    out: np.ndarray | None = None,
) -> np.ndarray: ...
def conv_transpose1d_backward(
    dy: Any,
    x: Any,
    w: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = None,
    dilation: Any = 1,
    groups: int = 1,
    output_size: Any = None,
    layout: str = "channels_first",
    needs: Iterable[str] = ...,
) -> _Gradients: ...
def conv_transpose1d_grad_input(
    dy: Any,
    w: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = None,
    dilation: Any = 1,
    groups: int = 1,
    output_size: Any = None,
    layout: str = "channels_first",
    out: np.ndarray | None = None,
) -> np.ndarray: ...
def conv_transpose1d_grad_weight(
    dy: Any,
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = None,
    dilation: Any = 1,
    groups: int = 1,
    output_size: Any = None,
    layout: str = "channels_first",
    out: np.ndarray | None = None,
) -> np.ndarray: ...

conv2d = conv1d
conv2d_backward = conv1d_backward
conv2d_grad_input = conv1d_grad_input
conv2d_grad_weight = conv1d_grad_weight
conv_transpose2d = conv_transpose1d
conv_transpose2d_backward = conv_transpose1d_backward
conv_transpose2d_grad_input = conv_transpose1d_grad_input
conv_transpose2d_grad_weight = conv_transpose1d_grad_weight
conv3d = conv1d
conv3d_backward = conv1d_backward
conv3d_grad_input = conv1d_grad_input
conv3d_grad_weight = conv1d_grad_weight
conv_transpose3d = conv_transpose1d
conv_transpose3d_backward = conv_transpose1d_backward
conv_transpose3d_grad_input = conv_transpose1d_grad_input
conv_transpose3d_grad_weight = conv_transpose1d_grad_weight
