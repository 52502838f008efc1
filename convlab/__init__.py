"""Convolution and transposed convolution of NumPy arrays, forward and backward, in C.

`conv1d`, `conv2d`, `conv3d` and `conv_transpose1d` to `conv_transpose3d` compute; the same names
with ``_backward``, ``_grad_input`` and ``_grad_weight`` differentiate. "Convolution" is deep
learning's: the kernel is not flipped.

Threads are set by `set_num_threads` or the environment (``CONVLAB_NUM_THREADS``, else
``OMP_NUM_THREADS``, else the cores this process may use); ``CONVLAB_ISA`` (``generic``, ``avx2``,
``avx512``, ``neon``) picks an instruction set, and importing fails where that one is not to be had.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from convlab import _core
from convlab._columns import fold, unfold
from convlab._config import configure as _configure
from convlab._config import get_num_threads, num_threads, set_num_threads, show_config
from convlab._explain import explain
from convlab._functional import (
    conv1d,
    conv1d_backward,
    conv1d_grad_input,
    conv1d_grad_weight,
    conv2d,
    conv2d_backward,
    conv2d_grad_input,
    conv2d_grad_weight,
    conv3d,
    conv3d_backward,
    conv3d_grad_input,
    conv3d_grad_weight,
    conv_transpose1d,
    conv_transpose1d_backward,
    conv_transpose1d_grad_input,
    conv_transpose1d_grad_weight,
    conv_transpose2d,
    conv_transpose2d_backward,
    conv_transpose2d_grad_input,
    conv_transpose2d_grad_weight,
    conv_transpose3d,
    conv_transpose3d_backward,
    conv_transpose3d_grad_input,
    conv_transpose3d_grad_weight,
)
from convlab._layers import Conv2D, Conv2DTranspose, Conv2DTransposeV2
from convlab._matrix import conv_matrix2d
from convlab._receptive_field import receptive_field
from convlab._shapes import conv_output_shape, conv_transpose_output_shape

__version__: str = _core.config()["version"]

__all__ = [
    "Conv2D",
    "Conv2DTranspose",
    "Conv2DTransposeV2",
    "conv1d",
    "conv1d_backward",
    "conv1d_grad_input",
    "conv1d_grad_weight",
    "conv2d",
    "conv2d_backward",
    "conv2d_grad_input",
    "conv2d_grad_weight",
    "conv3d",
    "conv3d_backward",
    "conv3d_grad_input",
    "conv3d_grad_weight",
    "conv_matrix2d",
    "conv_output_shape",
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "conv_transpose1d_grad_input",
    "conv_transpose1d_grad_weight",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "conv_transpose2d_grad_input",
    "conv_transpose2d_grad_weight",
    "conv_transpose3d",
    "conv_transpose3d_backward",
    "conv_transpose3d_grad_input",
    "conv_transpose3d_grad_weight",
    "conv_transpose_output_shape",
    "explain",
    "fold",
    "get_num_threads",
    "num_threads",
    "receptive_field",
    "set_num_threads",
    "show_config",
    "unfold",
]

# Imported when first asked for: not everybody wants them, and plot needs matplotlib.
_SUBMODULES = ("lessons", "plot")

_configure()


if TYPE_CHECKING:
    from convlab import lessons as lessons
    from convlab import plot as plot
else:

    def __getattr__(name: str) -> ModuleType:
        if name in _SUBMODULES:
            return import_module(f"convlab.{name}")
        raise AttributeError(f"module 'convlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_SUBMODULES, "__version__"]
