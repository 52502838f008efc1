"""A quick table of speeds: a few layers, beside PyTorch and SciPy where they are installed.

Everything runs in one process, one entry after the other, so that it takes seconds: good enough to
see whether an installation is as fast as it should be. A serious comparison needs a process per
library.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from math import prod
from types import ModuleType
from typing import Any

import numpy as np

import convlab
from convlab._timing import best_time

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Layer:
    """A two-dimensional layer in channels_first, float32."""

    name: str
    x: tuple[int, int, int, int]
    w: tuple[int, int, int, int]
    stride: int = 1
    padding: int = 1
    groups: int = 1
    transposed: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments that convlab and PyTorch share."""
        return {"stride": self.stride, "padding": self.padding, "groups": self.groups}


LAYERS = (
    Layer("3x3, 64 to 64 channels", (4, 64, 56, 56), (64, 64, 3, 3)),
    Layer("3x3, 128 to 128 channels", (4, 128, 28, 28), (128, 128, 3, 3)),
    Layer("3x3, 128 to 256, stride 2", (4, 128, 28, 28), (256, 128, 3, 3), stride=2),
    Layer("1x1, 256 to 64 channels", (4, 256, 56, 56), (64, 256, 1, 1), padding=0),
    Layer("3x3 depthwise, 96 channels", (4, 96, 56, 56), (96, 1, 3, 3), groups=96),
    Layer(
        "4x4 transposed, 128 to 64", (4, 128, 14, 14), (128, 64, 4, 4), stride=2, transposed=True
    ),
    Layer("7x7 filter on an image", (1, 1, 512, 512), (1, 1, 7, 7), padding=3),
)


def optional(name: str) -> ModuleType | None:
    """Import a module if it is installed."""
    try:
        return import_module(name)
    except ImportError:
        return None


def ours(layer: Layer, x: Array, w: Array) -> dict[str, Callable[[], Any]]:
    """Return convlab's forward, dx and dw of a layer, ready to be called."""
    name = "conv_transpose2d" if layer.transposed else "conv2d"
    shape = () if layer.transposed else (x.shape,)
    conv = getattr(convlab, name)
    grad_input = getattr(convlab, f"{name}_grad_input")
    grad_weight = getattr(convlab, f"{name}_grad_weight")
    options = layer.options
    dy = np.ones_like(conv(x, w, **options))
    return {
        "forward": lambda: conv(x, w, **options),
        "dx": lambda: grad_input(dy, w, *shape, **options),
        "dw": lambda: grad_weight(dy, x, w.shape[2:], **options),
    }


def torchs(torch: Any, layer: Layer, x: Array, w: Array) -> dict[str, Callable[[], Any]]:
    """Return PyTorch's forward, dx and dw of a layer, ready to be called."""
    tx, tw = torch.from_numpy(x), torch.from_numpy(w)
    pair = (layer.stride,) * 2, (layer.padding,) * 2, (1, 1), layer.transposed, (0, 0), layer.groups

    def forward() -> Any:
        return torch.convolution(tx, tw, None, *pair)

    dy = torch.ones_like(forward())

    def gradient(*mask: bool) -> Callable[[], Any]:
        return lambda: torch.ops.aten.convolution_backward(dy, tx, tw, None, *pair, list(mask))

    return {
        "forward": forward,
        "dx": gradient(True, False, False),
        "dw": gradient(False, True, False),
    }


def scipys(ndimage: Any, layer: Layer, x: Array, w: Array) -> dict[str, Callable[[], Any]]:
    """Return SciPy's filter, where the layer is one filter on one image."""
    if x.shape[:2] != (1, 1):
        return {}
    return {"forward": lambda: ndimage.correlate(x[0, 0], w[0, 0], mode="constant")}


def flops(layer: Layer) -> int:
    """Count a multiplication and an addition for each product of the layer's sum."""
    if layer.transposed:
        return 2 * prod(layer.x) * prod(layer.w[1:])
    shape = convlab.conv_output_shape(layer.x, layer.w, **layer.options)
    return 2 * prod(shape) * prod(layer.w[1:])


def run(seconds: float = 0.2) -> int:
    """Print the table.

    Parameters
    ----------
    seconds : float
        Spent on each entry of the table, at least.

    Returns
    -------
    int
        0.
    """
    torch, ndimage = optional("torch"), optional("scipy.ndimage")
    if torch:
        torch.set_num_threads(convlab.get_num_threads())
    convlab.show_config()
    print("\nfloat32, channels_first; best times, and how many times as long others take\n")
    print(f"{'':<28}{'':<8}{'ms':>9}{'GFLOP/s':>10}{'PyTorch':>9}{'SciPy':>8}")
    rng = np.random.default_rng(0)
    for layer in LAYERS:
        x = rng.standard_normal(layer.x, dtype=np.float32)
        w = rng.standard_normal(layer.w, dtype=np.float32)
        others = (
            torchs(torch, layer, x, w) if torch else {},
            scipys(ndimage, layer, x, w) if ndimage else {},
        )
        for operation, function in ours(layer, x, w).items():
            time = best_time(function, seconds)
            line = f"{layer.name:<28}{operation:<8}{time * 1e3:9.3f}"
            line += f"{flops(layer) / time / 1e9:10.1f}"
            for width, other in zip((8, 7), others, strict=True):
                ratio = best_time(other[operation], seconds) / time if operation in other else None
                line += f"{ratio:{width}.1f}x" if ratio else f"{'-':>{width + 1}}"
            print(line.rstrip(" -"), flush=True)
    return 0
