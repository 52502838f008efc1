"""What would mend a failing call: likely corrections, each of them tried before it is offered."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convlab import _arguments
from convlab._shapes import Parameters, conv_output_shape, conv_transpose_output_shape

PROBLEMS = (ValueError, TypeError)

Call = Mapping[str, Any]
Candidates = Iterator[tuple[str, Any]]


@dataclass(frozen=True)
class Remedy:
    """A change of arguments that makes a failing call work.

    Attributes
    ----------
    changes : dict
        The arguments to change, by name, and their new values.
    output_shape : tuple of int
        The shape that the call then returns.
    """

    changes: dict[str, Any]
    output_shape: tuple[int, ...]


def find_remedies(call: Call, transposed: bool) -> Iterator[Remedy]:
    """Find changes of one argument that make the call work; of two where no single one does.

    `call` holds the arguments of the shape function. For each argument (or pair) the first of its
    candidates that works is given, and no other.
    """
    ask = conv_transpose_output_shape if transposed else conv_output_shape
    candidates = [(name, value) for name, value in _candidates(call, transposed)]
    for count in (1, 2):
        mended = set()
        for chosen in itertools.combinations(candidates, count):
            changes = dict(chosen)
            names = frozenset(changes)
            if len(names) < count or names in mended:
                continue
            try:
                shape = ask(**{**call, **changes})
            except PROBLEMS:
                continue
            mended.add(names)
            yield Remedy(changes, shape)
        if mended:
            return


def _candidates(call: Call, transposed: bool) -> Candidates:
    """Likely corrections (argument, value), the nearest of each argument first.

    They are worked out from the formulas, with unusable arguments put back to their defaults.
    """
    nd = _spatial_rank(call)
    if nd is None:
        return
    defaults = dict(_unusable(call, nd))
    yield from defaults.items()
    sound = {**call, **defaults}
    for name in ("input_shape", "weight_shape"):
        sound[name] = _arguments.shape("", name, sound[name])
    sound["groups"] = operator.index(sound["groups"])
    yield from _channel_candidates(sound, nd, transposed)
    yield from (_transposed_candidates if transposed else _fit_candidates)(sound, nd)


def _spatial_rank(call: Call) -> int | None:
    """Count the spatial axes; None where the two shapes do not agree on one."""
    shapes = (call["input_shape"], call["weight_shape"])
    if not all(_is_fine(_arguments.shape, "shape", shape) for shape in shapes):
        return None
    nd = len(shapes[1]) - 2
    return nd if nd in _arguments.AXES and len(shapes[0]) - nd in (1, 2) else None


def _unusable(call: Call, nd: int) -> Candidates:
    """Arguments that no call of this rank could use, with their defaults."""
    for name in ("stride", "dilation"):
        if not _is_fine(_arguments.per_axis, name, call[name], nd, 1):
            yield name, 1
    if not _is_fine(_arguments.integer, "groups", call["groups"], 1):
        yield "groups", 1
    try:
        _arguments.padding("", call["padding"], nd)
    except PROBLEMS:
        yield "padding", 0
    if not _is_fine(_arguments.per_axis, "", call.get("output_padding", 0), nd, 0):
        yield "output_padding", 0
    size = call.get("output_size")
    if size is not None and not _is_fine(_arguments.size, "", size, nd):
        yield "output_size", None
    if not _is_fine(
        lambda function, _, layout: _arguments.channels_last(function, layout),
        "layout",
        call["layout"],
    ):
        yield "layout", "channels_first"


def _is_fine(parse: Callable[..., Any], name: str, value: Any, *limits: int) -> bool:
    try:
        parse("", name, value, *limits)
    except PROBLEMS:
        return False
    return True


# ---- channels and layout ---------------------------------------------------------------------


def _channel_candidates(call: Call, nd: int, transposed: bool) -> Candidates:
    """Other channel counts, groups and orders of axes."""
    first = call["layout"] == "channels_first"
    data, weight, groups = call["input_shape"], call["weight_shape"], call["groups"]
    channel_axis = len(data) - nd - 1 if first else len(data) - 1
    if first:
        entry, leave = (0, 1) if transposed else (1, 0)
    else:
        entry, leave = nd, nd + 1
    channels, share = data[channel_axis], 1 if transposed else groups
    yield "layout", "channels_last" if first else "channels_first"
    yield "groups", channels // max(weight[entry], 1)
    yield from (("groups", g) for g in _divisors(channels, nearest_to=groups))
    fitting = {entry: channels // share}
    yield "weight_shape", _resized(weight, fitting)
    yield "weight_shape", _resized(weight, {entry: weight[leave], leave: weight[entry]})
    if not transposed:
        fewer = weight[leave] - weight[leave] % groups
        for count in (fewer or groups, fewer + groups):
            yield "weight_shape", _resized(weight, {leave: count})
            yield "weight_shape", _resized(weight, fitting | {leave: count})
    yield "input_shape", _resized(data, {channel_axis: weight[entry] * share})


def _resized(shape: Sequence[int], sizes: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(sizes.get(axis, size) for axis, size in enumerate(shape))


def _divisors(number: int, *, nearest_to: int) -> list[int]:
    small = [d for d in range(1, min(int(number**0.5), 10_000) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)}, key=lambda d: abs(d - nearest_to))


# ---- sizes -------------------------------------------------------------------------------------


def _fit_candidates(call: Call, nd: int) -> Candidates:
    """Make the kernel of a convolution fit into the padded input."""
    parameters, sizes, kernel = _sizes(call, nd, transposed=False)
    if isinstance(parameters.padding, str):
        return
    rooms = [n + b + a for n, b, a in zip(sizes, *parameters.padding, strict=True)]
    reaches = [d * (k - 1) + 1 for k, d in zip(kernel, parameters.dilation, strict=True)]
    missing = [max(reach - room, 0) for reach, room in zip(reaches, rooms, strict=True)]
    yield "padding", _more_padding(call["padding"], missing)
    dilation = [
        min(d, max((room - 1) // max(k - 1, 1), 1))
        for d, room, k in zip(parameters.dilation, rooms, kernel, strict=True)
    ]
    yield "dilation", _like(call["dilation"], dilation, min)
    fitting = [
        min(k, max((room - 1) // d + 1, 1))
        for k, room, d in zip(kernel, rooms, parameters.dilation, strict=True)
    ]
    last = parameters.channels_last
    yield "weight_shape", _resized(call["weight_shape"], dict(enumerate(fitting, 0 if last else 2)))
    larger = [n + more for n, more in zip(sizes, missing, strict=True)]
    yield (
        "input_shape",
        _resized(
            call["input_shape"], dict(enumerate(larger, len(call["input_shape"]) - nd - last))
        ),
    )


def _transposed_candidates(call: Call, nd: int) -> Candidates:
    """Bring a transposed convolution's output, and what is asked of it, into range."""
    parameters, sizes, kernel = _sizes(call, nd, transposed=True)
    if isinstance(parameters.padding, str):
        yield "output_padding", 0
        before = after = (0,) * nd
        yield "padding", 0
    else:
        before, after = parameters.padding
    least = [
        s * (n - 1) + d * (k - 1) + 1 - b - a
        for n, k, s, d, b, a in zip(
            sizes, kernel, parameters.stride, parameters.dilation, before, after, strict=True
        )
    ]
    most = [max(s, d) - 1 for s, d in zip(parameters.stride, parameters.dilation, strict=True)]
    extras = _arguments.per_axis("", "", call["output_padding"], nd, 0)
    allowed = [min(extra, top) for extra, top in zip(extras, most, strict=True)]
    yield "output_padding", _like(call["output_padding"], allowed, min)
    yield "output_padding", 0
    wider = [max(s, extra + 1) for s, extra in zip(parameters.stride, extras, strict=True)]
    yield "stride", _like(call["stride"], wider, max)
    if call["output_size"] is not None:
        asked = _arguments.size("", "", call["output_size"], nd)
        nearest = [
            min(max(n, low), low + top) for n, low, top in zip(asked, least, most, strict=True)
        ]
        if len(set(nearest)) == 1:
            yield "output_size", _like(call["output_size"], nearest, max)
        yield "output_size", tuple(nearest)
        yield "output_size", None
    missing = [max(-low - extra, 0) for low, extra in zip(least, extras, strict=True)]
    yield "padding", _more_padding(call["padding"], [-m for m in missing])


def _sizes(
    call: Call, nd: int, transposed: bool
) -> tuple[Parameters, Sequence[int], Sequence[int]]:
    """Return parsed parameters, spatial input size and kernel size."""
    names = ("stride", "padding", "dilation", "groups", "layout")
    parameters = Parameters("", nd, *(call[name] for name in names))
    shape, weight = tuple(call["input_shape"]), tuple(call["weight_shape"])
    kernel = weight[:-2] if parameters.channels_last else weight[2:]
    return parameters, parameters.data_parts("", shape)[2], kernel


def _like(old: Any, new: Sequence[int], choose: Callable[[Sequence[int]], int]) -> Any:
    """One value for every axis where the old argument was one, else one per axis."""
    return tuple(new) if _arguments.is_sequence(old) else choose(new)


def _more_padding(padding: Any, missing: Sequence[int]) -> Any:
    """Add `missing` cells to each axis of a padding, in its own form (negative: take away)."""
    halves = [-(-m // 2) if m > 0 else m // 2 for m in missing]
    if isinstance(padding, str):
        return max(halves, key=abs)
    if not _arguments.is_sequence(padding):
        return operator.index(padding) + max(halves, key=abs)
    return tuple(
        tuple(operator.index(n) + more for n, more in zip(side, (m // 2, m - m // 2), strict=True))
        if _arguments.is_sequence(side)
        else operator.index(side) + half
        for side, m, half in zip(padding, missing, halves, strict=True)
    )
