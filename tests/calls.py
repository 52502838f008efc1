"""One small valid call of every array function, and its answer from torch.

Data are small integers, so that every sum is exact in every dtype and results compare with ``==``.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from oracle import rng

import convlab

N, GROUPS = 2, 2
STRIDE, PADDING, DILATION = 2, 1, 1
STEMS = ("conv", "conv_transpose")
KINDS = ("", "_backward", "_grad_input", "_grad_weight")


class Call(NamedTuple):
    """A function's public name, its arguments, which of them are arrays, and its answer."""

    name: str
    arguments: dict[str, Any]
    arrays: tuple[str, ...]
    expected: tuple[np.ndarray, ...]

    def run(self, **changes: Any) -> Any:
        return getattr(convlab, self.name)(**self.arguments | changes)

    def results(self, **changes: Any) -> tuple[np.ndarray, ...]:
        """Return what it returns, always as a tuple."""
        result = self.run(**changes)
        return result if isinstance(result, tuple) else (result,)

    def converted(self, convert: Callable[[np.ndarray], Any]) -> tuple[np.ndarray, ...]:
        """Its results for arrays that were converted first."""
        return self.results(**{name: convert(self.arguments[name]) for name in self.arrays})

    def takes_out(self) -> bool:
        return not self.name.endswith("_backward")

    def __str__(self) -> str:
        return self.name


def integers(label: str, shape: tuple[int, ...], imaginary: bool = False) -> np.ndarray:
    generator = rng(label, shape)
    real = generator.integers(-3, 4, shape).astype(np.float64)
    return real + 1j * generator.integers(-3, 4, shape) if imaginary else real


def gradients(
    stem: str, nd: int, operands: tuple[np.ndarray, ...], dy: np.ndarray | None = None
) -> list[np.ndarray]:
    """y, dx, dw, db by torch.autograd, for ``dy`` or, without it, a dy drawn here as a fifth."""
    leaves = [torch.tensor(a, requires_grad=True) for a in operands]
    operation = getattr(torch.nn.functional, f"{stem}{nd}d")
    y = operation(*leaves, stride=STRIDE, padding=PADDING, dilation=DILATION, groups=GROUPS)
    if dy is None:
        dy = integers("dy", tuple(y.shape), bool(np.iscomplexobj(operands[0])))
    grads = torch.autograd.grad(y, leaves, torch.tensor(dy))
    return [t.detach().resolve_conj().numpy() for t in (y, *grads)] + [dy]


def calls_of(stem: str, nd: int, imaginary: bool = False) -> Iterator[Call]:
    """Yield the four functions of one operation and rank."""
    size, kernel = (5, 6, 4)[:nd], (3, 2, 3)[:nd]
    channels = (4, 3) if stem == "conv_transpose" else (6, 2)
    c_out = 6
    x = integers("x", (N, 4, *size), imaginary)
    w = integers("w", (*channels, *kernel), imaginary)
    b = integers("b", (c_out,), imaginary)
    y, dx, dw, db, dy = gradients(stem, nd, (x, w, b))
    extra = {"stride": STRIDE, "padding": PADDING, "dilation": DILATION, "groups": GROUPS}
    name = f"{stem}{nd}d"
    yield Call(name, {"x": x, "w": w, "b": b} | extra, ("x", "w", "b"), (y,))
    yield Call(
        f"{name}_backward", {"dy": dy, "x": x, "w": w} | extra, ("dy", "x", "w"), (dx, dw, db)
    )
    shape = {"input_shape": x.shape} if stem == "conv" else {}
    yield Call(f"{name}_grad_input", {"dy": dy, "w": w} | shape | extra, ("dy", "w"), (dx,))
    yield Call(
        f"{name}_grad_weight",
        {"dy": dy, "x": x, "kernel_size": kernel} | extra,
        ("dy", "x"),
        (dw,),
    )


CONV_CALLS = tuple(chain.from_iterable(calls_of(stem, nd) for stem in STEMS for nd in (1, 2, 3)))
COMPLEX_CALLS = tuple(chain.from_iterable(calls_of(stem, 2, imaginary=True) for stem in STEMS))
