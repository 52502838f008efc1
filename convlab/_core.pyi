# The C extension. Arrays are of one native dtype, float32 or float64, and aligned.
from collections.abc import Callable
from typing import Any, Self, final

import numpy as np

_Ints = tuple[int, ...]

def forward(
    y: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    stride: _Ints,
    pad: _Ints,
    dilation: _Ints,
    groups: int,
    channels_last: bool,
    transposed: bool,
    reference: bool = False,
    /,
) -> None: ...
def grad_input(
    dx: np.ndarray,
    dy: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    stride: _Ints,
    pad: _Ints,
    dilation: _Ints,
    groups: int,
    channels_last: bool,
    transposed: bool,
    reference: bool = False,
    /,
) -> None: ...
def grad_weight(
    dw: np.ndarray,
    dy: np.ndarray,
    x: np.ndarray,
    b: None,
    stride: _Ints,
    pad: _Ints,
    dilation: _Ints,
    groups: int,
    channels_last: bool,
    transposed: bool,
    reference: bool = False,
    /,
) -> None: ...

@final
class Served:
    """A Python function whose common call the C core serves. Its attributes are the function's."""

    __wrapped__: Callable[..., Any]
    def __new__(
        cls, function: Callable[..., Any], nd: int, primitive: int, transposed: bool
    ) -> Self: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

def common(
    primitive: int,
    transposed: bool,
    nd: int,
    in1: Any,
    in2: Any,
    b: Any,
    size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    layout: Any,
    out: Any,
    /,
) -> np.ndarray | None: ...
def grad_bias(db: np.ndarray, dy: np.ndarray, nd: int, channels_last: bool, /) -> None: ...
def unfold(
    columns: np.ndarray,
    x: np.ndarray,
    kernel_size: _Ints,
    positions: _Ints,
    stride: _Ints,
    pad: _Ints,
    dilation: _Ints,
    /,
) -> None: ...
def fold(
    x: np.ndarray,
    columns: np.ndarray,
    kernel_size: _Ints,
    positions: _Ints,
    stride: _Ints,
    pad: _Ints,
    dilation: _Ints,
    /,
) -> None: ...
def empty(shape: _Ints, dtype: np.dtype, source: np.ndarray | None, /) -> np.ndarray: ...
def set_num_threads(n: int, /) -> None: ...
def get_num_threads() -> int: ...
def select_isa(name: str | None, /) -> bool: ...
def config() -> dict[str, Any]: ...
