"""What the answers are: torch in float64, and how far from it a result may be.

Tolerance
---------
Every element of every operation is a sum of products of two operands. Let the products of one
element be p_1 .. p_L. Summed in any order in a format of relative precision eps, with signs at
random, partial sum j has the size of sqrt(p_1**2 + .. + p_j**2), each addition errs by up to eps/2
of it, independently, and so the whole errs by about

    eps * sqrt(L) * scale,    scale = sqrt(p_1**2 + .. + p_L**2).

A result passes if each of its elements is within ``SAFETY`` times that. Scale and L are those of
each element by itself: its scale is the same operation applied to the squares of the operands, its
L the operation applied to ones. An element that meets only padding has scale zero and must be
exact. ``SAFETY`` covers the largest of some thousand elements instead of the typical one; it is the
only number here that was chosen, and it stays the same for all operations, dtypes and shapes.
"""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from cases import Case
from torch.nn import functional

import convlab

SEED = int(os.environ.get("CONVLAB_TEST_SEED", "20240229"))
SAFETY = 4.0
LAYOUTS = ("channels_first", "channels_last")
DTYPES = ("float32", "float64")
OPERATIONS = ("forward", "grad_input", "grad_weight")


def rng(*label: object) -> np.random.Generator:
    """Seed a generator for each label, so that no test depends on what ran before it."""
    return np.random.default_rng([SEED, zlib.crc32(repr(label).encode())])


class Results(NamedTuple):
    """One array per thing that a problem has for an answer."""

    y: np.ndarray
    dx: np.ndarray
    dw: np.ndarray
    db: np.ndarray


ANSWER = {"forward": "y", "grad_input": "dx", "grad_weight": "dw", "grad_bias": "db"}


def _torch_pads(pads: tuple[tuple[int, int], ...]) -> list[int]:
    """torch.nn.functional.pad counts axes from the last."""
    return [side for pair in reversed(pads) for side in pair]


def torch_conv(case: Case, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Compute the forward operation of a case in channels_first, any padding, by torch."""
    options = {"stride": case.stride, "dilation": case.dilation, "groups": case.groups}
    if not case.transposed:
        operation = getattr(functional, f"conv{case.nd}d")
        return operation(functional.pad(x, _torch_pads(case.pads)), w, b, **options)
    operation = getattr(functional, f"conv_transpose{case.nd}d")
    whole = operation(x, w, None, **options)
    sizes = zip(case.pads, whole.shape[-case.nd :], case.out_size, strict=True)
    margins = [(-before, out - (size - before)) for (before, _), size, out in sizes]
    for sign in (1, -1):  # zeros first: what is cropped may be more than there was
        part = tuple(tuple(m if m * sign > 0 else 0 for m in pair) for pair in margins)
        whole = functional.pad(whole, _torch_pads(part))
    return whole + b.reshape(-1, *(1,) * case.nd)


def torch_results(case: Case, x, w, b, dy) -> Results:
    """Forward and every gradient by torch.autograd, in float64 and channels_first."""
    leaves = [torch.tensor(np.asarray(a, np.float64), requires_grad=True) for a in (x, w, b)]
    y = torch_conv(case, *leaves)
    gradients = torch.autograd.grad(y, leaves, torch.tensor(np.asarray(dy, np.float64)))
    return Results(*(t.detach().numpy() for t in (y, *gradients)))


def draw(case: Case, dtype: str) -> tuple[np.ndarray, ...]:
    """x, w, b and dy of a case, channels_first, standard normal."""
    generator = rng(str(case), dtype)
    shapes = (case.x_shape(), case.w_shape(), (case.oc,), case.y_shape())
    return tuple(generator.standard_normal(shape).astype(dtype) for shape in shapes)


@cache
def _reference(case: Case, dtype: str) -> tuple[tuple[np.ndarray, ...], Results, Results]:
    """Operands, answers, and ``sqrt(L) * scale`` of the answers, in channels_first.

    The operands are read-only: what is computed once is shared by all tests, and no operation may
    write to its inputs.
    """
    operands = draw(case, dtype)
    for operand in operands:
        operand.flags.writeable = False
    squares = torch_results(case, *(np.square(a, dtype=np.float64) for a in operands))
    lengths = torch_results(case, *(np.ones_like(a) for a in operands))
    spreads = Results(*(np.sqrt(n * total) for n, total in zip(lengths, squares, strict=True)))
    return operands, torch_results(case, *operands), spreads


def assert_close(
    actual: np.ndarray, expected: np.ndarray, spread: np.ndarray, label: str = ""
) -> None:
    """Fail unless every element is within the tolerance that this module's docstring derives.

    `spread` is ``sqrt(L) * scale`` of each element.
    """
    assert actual.shape == expected.shape, f"{label}: shape {actual.shape}, not {expected.shape}"
    tolerance = SAFETY * np.finfo(actual.dtype).eps * spread
    error = np.abs(actual.astype(np.float64) - expected)
    wrong = ~(error <= tolerance)  # so that NaN is wrong
    if wrong.any():
        worst = np.unravel_index(
            np.argmax(np.where(np.isnan(error), np.inf, error - tolerance)), error.shape
        )
        raise AssertionError(
            f"{label}: {wrong.sum()} of {wrong.size} elements are wrong, "
            f"{np.isnan(actual).sum()} of them NaN (unwritten); the worst is {worst}: "
            f"{actual[worst]!r} for {expected[worst]!r}, tolerance {tolerance[worst]:.3g}"
        )


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are equal in dtype, shape and every bit."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def swap_data_layout(array: np.ndarray, nd: int) -> np.ndarray:
    """Turn x, y or a gradient of them from channels_first to channels_last, contiguous."""
    return np.ascontiguousarray(np.moveaxis(array, -nd - 1, -1))


def swap_weight_layout(array: np.ndarray, transposed: bool) -> np.ndarray:
    """Turn w or dw from channels_first to channels_last, contiguous."""
    spatial = tuple(range(2, array.ndim))
    channels = (0, 1) if transposed else (1, 0)
    return np.ascontiguousarray(array.transpose(*spatial, *channels))


class _Guarded:
    """An output array of NaN inside a larger one, of which nothing else may change."""

    margin = 67  # more than the widest vector, and odd: the output is aligned to its items only
    canary = 1.25

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        size = int(np.prod(shape))
        self.whole = np.full(size + 2 * self.margin, self.canary, dtype)
        self.inside = self.whole[self.margin : self.margin + size]
        self.inside[:] = np.nan
        self.out = self.inside.reshape(shape)

    def check(self, label: str) -> None:
        outside = (self.whole[: self.margin], self.whole[self.margin + self.inside.size :])
        assert all((side == self.canary).all() for side in outside), f"{label}: wrote outside out"


class Problem:
    """A case with data in one dtype and layout, its answers, and convlab's functions for it."""

    def __init__(self, case: Case, dtype: str = "float64", layout: str = "channels_first") -> None:
        self.case, self.dtype, self.layout = case, dtype, layout
        operands, answers, spreads = _reference(case, dtype)
        self.x, self.w, self.b, self.dy = operands
        self.answers, self.spreads = answers, spreads
        if layout == "channels_last":
            self.x, self.dy = (swap_data_layout(a, case.nd) for a in (self.x, self.dy))
            self.w = swap_weight_layout(self.w, case.transposed)
            self.answers, self.spreads = self._swap(answers), self._swap(spreads)
        self.name = f"conv{'_transpose' if case.transposed else ''}{case.nd}d"
        self.parameters = {**case.parameters, "layout": layout}

    def _swap(self, results: Results) -> Results:
        y, dx, dw, db = results
        return Results(
            swap_data_layout(y, self.case.nd),
            swap_data_layout(dx, self.case.nd),
            swap_weight_layout(dw, self.case.transposed),
            db,
        )

    def forward(self, x=None, w=None, b=None, **options) -> np.ndarray:
        x = self.x if x is None else x
        w = self.w if w is None else w
        return getattr(convlab, self.name)(x, w, b, **self.parameters, **options)

    def grad_input(self, dy=None, w=None, **options) -> np.ndarray:
        dy = self.dy if dy is None else dy
        w = self.w if w is None else w
        shape = () if self.case.transposed else (self.x.shape,)
        function = getattr(convlab, f"{self.name}_grad_input")
        return function(dy, w, *shape, **self.parameters, **options)

    def grad_weight(self, dy=None, x=None, **options) -> np.ndarray:
        dy = self.dy if dy is None else dy
        x = self.x if x is None else x
        function = getattr(convlab, f"{self.name}_grad_weight")
        return function(dy, x, self.case.kernel, **self.parameters, **options)

    def backward(self, **options) -> tuple:
        function = getattr(convlab, f"{self.name}_backward")
        return function(self.dy, self.x, self.w, **self.parameters, **options)

    def compute(self, operation: str) -> np.ndarray:
        """Let the operation fill an output that is full of NaN, and nothing beside it."""
        answer = getattr(self.answers, ANSWER[operation])
        guarded = _Guarded(answer.shape, self.dtype)
        bias = {"b": self.b} if operation == "forward" else {}
        result = getattr(self, operation)(**bias, out=guarded.out)
        assert result is guarded.out, f"{operation} did not return out"
        guarded.check(operation)
        return result

    def check(self, operation: str, actual: np.ndarray) -> None:
        """Fail unless `actual` is the operation's answer."""
        name = ANSWER[operation]
        assert actual.dtype == self.dtype, f"{operation}: dtype {actual.dtype}, not {self.dtype}"
        assert_close(
            actual,
            getattr(self.answers, name),
            getattr(self.spreads, name),
            f"{self.case} {self.dtype} {self.layout} {operation}",
        )


def problems(case: Case) -> Iterator[Problem]:
    """Give a case data in every dtype and layout."""
    for dtype, layout in itertools.product(DTYPES, LAYOUTS):
        yield Problem(case, dtype, layout)


def integer_operands(case: Case, dtype: str = "float32") -> tuple[np.ndarray, ...]:
    """x, w, b and dy of a case, channels_first, of small integers: every sum of them is exact."""
    generator = rng("integers", str(case))
    shapes = (case.x_shape(), case.w_shape(), (case.oc,), case.y_shape())
    return tuple(generator.integers(-3, 4, shape).astype(dtype) for shape in shapes)
