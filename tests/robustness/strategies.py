"""What hypothesis draws: problems of every shape, arrays of every kind, and values nobody takes.

Data are small integers, so that every sum is exact in every order and results compare with ``==``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from cases import Case
from hypothesis import strategies as st
from oracle import Results, swap_data_layout, swap_weight_layout, torch_results

import convlab
from convlab import _core

LARGEST = 2**31 - 1  # what a parameter may be at most
LONGEST = 70  # of an axis

REALS = ("?", "i1", "u1", "i2", "u4", "i8", "u8", "f2", "f4", "f8", ">f2", ">f4", ">f8", ">i4")
COMPLEX = ("c8", "c16", ">c8")


# ---- problems ------------------------------------------------------------------------------------


def _axes(nd: int, each: st.SearchStrategy) -> st.SearchStrategy:
    return st.tuples(*[each] * nd)


def _paddings(nd: int) -> st.SearchStrategy:
    """Every form: a mode, one number, one per axis, a pair per axis; crops among them."""
    number = st.integers(-2, 4)
    return st.one_of(
        st.sampled_from(("valid", "same", "same_lower")),
        st.integers(-1, 4),
        _axes(nd, number),
        _axes(nd, st.tuples(number, number)),
    )


@st.composite
def cases(draw: Any, nd: int, transposed: bool) -> Case:
    """Draw a valid problem: any axis may be empty, and one may be long."""
    groups = draw(st.sampled_from((1, 1, 1, 2, 3, 5)))
    small = st.integers(0, 6)
    ic, oc = draw(small), draw(small)
    size = list(draw(_axes(nd, small)))
    n = draw(st.sampled_from((None, 0, 1, 2, 3)))
    # One axis at most is long, so that no problem is large.
    longest = draw(st.integers(7, LONGEST))
    match draw(st.sampled_from(("none", "size", "ic", "oc"))):
        case "size":
            size[draw(st.integers(0, nd - 1))] = longest
        case "ic":
            ic = longest // groups
        case "oc":
            oc = longest // groups
    kernel = draw(_axes(nd, st.integers(1, 5)))
    stride = draw(_axes(nd, st.integers(1, 4)))
    dilation = draw(_axes(nd, st.integers(1, 3)))
    padding = draw(_paddings(nd))
    named = padding in ("same", "same_lower")
    extra = tuple(
        0 if named or not transposed else draw(st.integers(0, max(s, d) - 1))
        for s, d in zip(stride, dilation, strict=True)
    )
    problem = Case(
        "any",
        ic * groups,
        oc * groups,
        tuple(max(length, 1) if named else length for length in size),
        kernel,
        n=n,
        groups=groups,
        stride=stride,
        padding=padding,
        dilation=dilation,
        output_padding=extra,
        transposed=transposed,
    )
    while not problem.valid:
        problem = replace(problem, size=tuple(length + 1 for length in problem.size))
    return _with_huge_steps(problem, draw(st.booleans())) if draw(st.booleans()) else problem


def _with_huge_steps(problem: Case, strides: bool) -> Case:
    """Make steps that are never taken as large as they may be: y stays small."""
    if strides and not problem.transposed and not str(problem.padding).startswith("same"):
        return replace(problem, stride=(LARGEST,) * problem.nd)
    dilation = tuple(
        LARGEST if k == 1 else d
        for k, d in zip(problem.kernel, problem.per_axis(problem.dilation), strict=True)
    )
    return replace(problem, dilation=dilation)


# ---- answers -------------------------------------------------------------------------------------


def _torch_can(case: Case) -> bool:
    """Whether torch computes a problem: no axis empty or cropped away, no huge number."""
    left = [n + min(b, 0) + min(a, 0) for n, (b, a) in zip(case.size, case.pads, strict=True)]
    sizes = (1 if case.n is None else case.n, case.ic, case.oc, *case.size, *left)
    steps = (*case.per_axis(case.stride), *case.per_axis(case.dilation))
    return min(sizes) > 0 and max(steps) < LARGEST


def _reference_results(case: Case, x: Any, w: Any, b: Any, dy: Any) -> Results:
    """Forward and every gradient by the plain loops of the C core."""
    geometry = (
        case.per_axis(case.stride),
        tuple(before for before, _ in case.pads),
        case.per_axis(case.dilation),
        case.groups,
        False,
        case.transposed,
        True,
    )
    y, dx, dw = (np.full(a.shape, np.nan) for a in (dy, x, w))
    if case.transposed:
        _core.grad_input(y, x, w, b, *geometry)
        _core.forward(dx, dy, w, None, *geometry)
        _core.grad_weight(dw, x, dy, None, *geometry)
    else:
        _core.forward(y, x, w, b, *geometry)
        _core.grad_input(dx, dy, w, None, *geometry)
        _core.grad_weight(dw, dy, x, None, *geometry)
    channel = -1 - case.nd
    rest = tuple(axis for axis in range(-dy.ndim, 0) if axis != channel)
    return Results(y, dx, dw, dy.sum(axis=rest))


def _real_answers(case: Case, *operands: np.ndarray) -> Results:
    exact = [np.array(a, np.float64, order="C") for a in operands]
    if _torch_can(case):
        return torch_results(case, *exact)
    return _reference_results(case, *exact)


def answers(case: Case, x: np.ndarray, w: np.ndarray, b: np.ndarray, dy: np.ndarray) -> Results:
    """Forward and every gradient, channels_first, in float64 or complex128.

    y is linear in x and w, dx in dy and conj(w), dw in dy and conj(x): complex ones are four real
    ones each.
    """
    if not any(np.iscomplexobj(a) for a in (x, w, b, dy)):
        return _real_answers(case, x, w, b, dy)
    none = np.zeros(b.shape)
    both = _real_answers(case, x.real, w.real, b.real, dy.real)
    other = _real_answers(case, x.imag, w.imag, none, dy.imag)
    crossed = _real_answers(case, x.real, w.imag, b.imag, dy.real)
    swapped = _real_answers(case, x.imag, w.real, none, dy.imag)
    dw_first = _real_answers(case, x.real, w.real, none, dy.imag).dw
    dw_second = _real_answers(case, x.imag, w.real, none, dy.real).dw
    return Results(
        both.y - other.y + 1j * (crossed.y + swapped.y),
        both.dx + other.dx + 1j * (swapped.dx - crossed.dx),
        both.dw + other.dw + 1j * (dw_first - dw_second),
        both.db + 1j * other.db,
    )


# ---- arrays --------------------------------------------------------------------------------------


def contiguous(a: np.ndarray) -> np.ndarray:
    return a.copy()


def reversed_axes(a: np.ndarray) -> np.ndarray:
    back = (slice(None, None, -1),) * a.ndim
    return np.ascontiguousarray(a[back])[back]


def every_third(a: np.ndarray) -> np.ndarray:
    wide = np.zeros((*a.shape[:-1], 3 * a.shape[-1]), a.dtype)
    wide[..., 1::3] = a
    return wide[..., 1::3]


def misaligned(a: np.ndarray) -> np.ndarray:
    view = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def field_of_records(a: np.ndarray) -> np.ndarray:
    records = np.zeros(a.shape, [("tag", "u1"), ("value", a.dtype)])
    records["value"] = a
    return records["value"]


def byte_swapped(a: np.ndarray) -> np.ndarray:
    return a.astype(a.dtype.newbyteorder())


def read_only(a: np.ndarray) -> np.ndarray:
    copy = a.copy()
    copy.flags.writeable = False
    return copy


def one_value(a: np.ndarray) -> np.ndarray:
    """Every stride zero."""
    return np.broadcast_to(a.flat[0] if a.size else a.dtype.type(0), a.shape)


VIEWS = (contiguous, np.asfortranarray, reversed_axes, every_third, misaligned, field_of_records)
INPUT_VIEWS = (*VIEWS, byte_swapped, read_only, one_value)


def integers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Small integers of any dtype, none that the dtype does not have."""
    kind = np.dtype(dtype).kind
    least, end = {"b": (0, 2), "u": (0, 3)}.get(kind, (-2, 3))
    generator = np.random.default_rng(seed)
    values = generator.integers(least, end, shape)
    if kind == "c":
        values = values + 1j * generator.integers(least, end, shape)
    return values.astype(dtype)


@dataclass
class Arrays:
    """x, w, b and dy of a case, as drawn, in one layout."""

    x: np.ndarray
    w: np.ndarray
    b: np.ndarray
    dy: np.ndarray
    layout: str

    def channels_first(self, case: Case) -> tuple[np.ndarray, ...]:
        if self.layout == "channels_first":
            return self.x, self.w, self.b, self.dy
        to_weight = tuple(range(-2, 0)) if case.transposed else (-1, -2)
        axes = (*(axis % self.w.ndim for axis in to_weight), *range(case.nd))
        x, dy = (np.moveaxis(a, -1, -1 - case.nd) for a in (self.x, self.dy))
        return x, self.w.transpose(axes), self.b, dy


@st.composite
def arrays(draw: Any, case: Case) -> Arrays:
    """Draw operands of any dtypes, each in memory in any way."""
    layout = draw(st.sampled_from(("channels_first", "channels_last")))
    shapes = (case.x_shape(layout), case.w_shape(layout), (case.oc,), case.y_shape(layout))
    dtypes = draw(
        st.one_of(
            st.sampled_from(("f4", "f8")).map(lambda dtype: [dtype] * 4),
            st.lists(st.sampled_from(REALS), min_size=4, max_size=4),
            st.lists(st.sampled_from(REALS + COMPLEX), min_size=4, max_size=4),
        )
    )
    views = draw(st.lists(st.sampled_from(INPUT_VIEWS), min_size=4, max_size=4))
    seed = draw(st.integers(0, 2**32))
    made = [
        view(integers(shape, dtype, seed + i))
        for i, (view, shape, dtype) in enumerate(zip(views, shapes, dtypes, strict=True))
    ]
    return Arrays(*made, layout)


def in_layout(results: Results, case: Case, layout: str) -> Results:
    if layout == "channels_first":
        return results
    y, dx, dw, db = results
    return Results(
        swap_data_layout(y, case.nd),
        swap_data_layout(dx, case.nd),
        swap_weight_layout(dw, case.transposed),
        db,
    )


def result_dtype(*operands: np.ndarray) -> np.dtype:
    """NumPy's promotion, float64 for what has no fraction."""
    dtype = np.result_type(*operands)
    return dtype.newbyteorder("=") if dtype.kind in "fc" else np.dtype("f8")


# ---- calls ---------------------------------------------------------------------------------------

KINDS = ("", "_backward", "_grad_input", "_grad_weight")
NAMES = tuple(
    f"{stem}{nd}d{kind}"
    for stem in ("conv", "conv_transpose")
    for nd in (1, 2, 3)
    for kind in KINDS
)


@dataclass
class Call:
    """One of the 24 functions, its arguments, and what it must return."""

    name: str
    case: Case
    arguments: dict[str, Any]
    expected: tuple[np.ndarray, ...] = field(repr=False)

    @property
    def takes_out(self) -> bool:
        return not self.name.endswith("_backward")

    def run(self, **changes: Any) -> Any:
        return getattr(convlab, self.name)(**self.arguments | changes)


def _spelled(value: Any) -> st.SearchStrategy:
    """Give other ways to write the same number or numbers."""
    if isinstance(value, str):
        return st.just(value)
    if isinstance(value, int):
        return st.sampled_from((value, np.int64(value), np.array(value)))
    spellings = [value, list(value), np.array(value), tuple(map(np.array, value))]
    if len(set(value)) == 1 and isinstance(value[0], int):
        spellings.append(value[0])
    return st.sampled_from(spellings)


@st.composite
def calls(draw: Any, name: str) -> Call:
    """Draw a valid call of one of the 24 functions."""
    stem, _, kind = name.partition("d")
    case = draw(cases(int(stem[-1]), stem.startswith("conv_transpose")))
    operands = draw(arrays(case))
    exact = in_layout(answers(case, *operands.channels_first(case)), case, operands.layout)
    x, w, b, dy = operands.x, operands.w, operands.b, operands.dy
    match kind:
        case "":
            own = {"x": x, "w": w, "b": b}
            expected = (exact.y,)
            if draw(st.booleans()):
                del own["b"]
                expected = (exact.y - _as_bias(b, case, operands.layout),)
        case "_backward":
            own, expected = {"dy": dy, "x": x, "w": w}, (exact.dx, exact.dw, exact.db)
        case "_grad_input":
            own, expected = {"dy": dy, "w": w}, (exact.dx,)
        case _:
            own, expected = {"dy": dy, "x": x}, (exact.dw,)
    dtype = result_dtype(*own.values())
    if kind == "_grad_input" and not case.transposed:
        own["input_shape"] = draw(st.sampled_from((x.shape, list(x.shape))))
    if kind == "_grad_weight":
        own["kernel_size"] = draw(_spelled(case.kernel))
    parameters = {
        key: draw(_spelled(value)) for key, value in _parameters(draw, case, kind).items()
    }
    arguments = own | parameters | {"groups": case.groups, "layout": operands.layout}
    return Call(name, case, arguments, tuple(_as(a, dtype) for a in expected))


def _parameters(draw: Any, case: Case, kind: str) -> dict[str, Any]:
    parameters = {key: getattr(case, key) for key in ("stride", "padding", "dilation")}
    if not case.transposed:
        return parameters
    strides, extras = case.per_axis(case.stride), case.per_axis(case.output_padding)
    # Where output_padding is not smaller than the stride, dy alone does not show it.
    shown = all(extra < stride for extra, stride in zip(extras, strides, strict=True))
    if not kind or not shown or draw(st.booleans()):
        parameters["output_padding"] = case.output_padding
    return parameters


def _as_bias(b: np.ndarray, case: Case, layout: str) -> np.ndarray:
    """View the bias such that it is added to y by broadcasting."""
    b = b.astype(np.complex128 if np.iscomplexobj(b) else np.float64)
    return b if layout == "channels_last" else b.reshape(-1, *(1,) * case.nd)


def _as(exact: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return (exact if dtype.kind == "c" else exact.real).astype(dtype)


# ---- values that no parameter takes --------------------------------------------------------------


class RaisingIndex:
    def __index__(self) -> int:
        raise RuntimeError("no")


class NonsenseIndex:
    def __index__(self) -> Any:
        return 1.5


class RaisingLength(tuple):
    def __iter__(self) -> Any:
        raise ZeroDivisionError("no")


class RaisingArray:
    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise KeyError("no")


class NonsenseArray:
    def __array__(self, *_: Any, **__: Any) -> Any:
        return "not an array"


NOT_INTS = (
    1.0,
    float("nan"),
    float("inf"),
    True,
    np.True_,
    np.float32(1),
    1j,
    "1",
    b"1",
    object(),
    {1},
    {1: 1},
    range,
    RaisingIndex(),
    NonsenseIndex(),
    np.array(1.0),
)
TOO_LARGE = (2**31, 2**63 - 1, 2**63, 2**64, 2**70, -(2**31), -(2**63), -(2**70), 10**5000)
NOT_POSITIVE = (0, -1, -3)
NOT_ARRAYS = (
    "abc",
    b"abc",
    object(),
    {1, 2},
    [[1], [1, 2]],
    [None],
    RaisingArray(),
    NonsenseArray(),
)
NOT_NUMBERS = ("O", "U3", "S3", "M8[s]", "m8[s]", "g", "G", "V8", [("re", "f4"), ("im", "f4")])


def wrong_lengths(nd: int, item: Any = 1) -> list[Any]:
    return [
        (),
        [item] * (nd + 1),
        (item,) * 7,
        np.array([item] * (nd + 2)),
        RaisingLength((item,) * nd),
    ]


def among(correct: Iterable[int], wrong: Iterable[Any]) -> list[Any]:
    """Put each wrong value among right ones, as one item of a sequence."""
    rest = tuple(correct)[1:]
    return [(value, *rest) for value in wrong]


def recast(a: np.ndarray, dtype: Any) -> np.ndarray:
    """Fill an array of the same shape and an unsupported dtype."""
    return np.zeros(a.shape, dtype)


def of_rank(rank: int) -> np.ndarray:
    return np.ones((1,) * rank)
