"""`explain`: output sizes, taps, and what would mend a call, in words and numbers."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from convlab import _arguments
from convlab._remedies import PROBLEMS, Remedy, find_remedies
from convlab._taps import Axis, resolve

_MOST_TAPS_PRINTED = 12
_MOST_TAPS_LISTED = 2**20


@dataclass(frozen=True)
class Tap:
    """One weight of the kernel and the input element it multiplies.

    Attributes
    ----------
    kernel : tuple of int
        Index into the kernel, one per spatial axis.
    input : tuple of int
        Spatial position in the input; outside it for padding.
    padding : bool
        Whether that position is padding, so that the product is zero.
    """

    kernel: tuple[int, ...]
    input: tuple[int, ...]
    padding: bool


@dataclass(frozen=True, repr=False)
class Explanation:
    """What `explain` found out; print it, or let a notebook show it.

    Attributes
    ----------
    operation : str
        Name of the function explained, such as ``"conv2d"``.
    arguments : dict
        The arguments as given.
    error : str or None
        Why the call fails, in the words of the shape function; None for a call that works.
    output_shape : tuple of int or None
        Shape of the result, None for a call that fails.
    output : tuple of int or None
        Spatial position of the output element whose taps are listed; None where there is none.
    axes : tuple of Axis
        Sizes and parameters of each spatial axis, padding as numbers; empty for a call that fails.
    remedies : tuple of Remedy
        For a call that fails, changes that were tried and found to work, one argument at a time
        where that is enough.
    """

    operation: str
    arguments: dict[str, Any]
    error: str | None
    output_shape: tuple[int, ...] | None
    output: tuple[int, ...] | None
    axes: tuple[Axis, ...]
    remedies: tuple[Remedy, ...]

    @property
    def ok(self) -> bool:
        """Whether the call works."""
        return self.error is None

    @property
    def channels_read(self) -> int:
        """Input channels that each output channel reads; 0 for a call that fails."""
        if self.error:
            return 0
        weight = _arguments.shape("explain", "weight_shape", self.arguments["weight_shape"])
        groups = _arguments.integer("explain", "groups", self.arguments["groups"])
        if self.arguments["layout"] == "channels_last":
            entry = weight[-2]
        else:
            entry = weight[int(not self.axes[0].transposed)]
        return entry // groups if self.axes[0].transposed else entry

    @property
    def taps(self) -> tuple[Tap, ...]:
        """The taps that feed the chosen output element, the same in every channel it reads.

        More than a million are too many to list: a MemoryError says so.
        """
        if self.output is None:
            return ()
        count, _ = self._count_taps()
        if count > _MOST_TAPS_LISTED:
            raise MemoryError(f"explain: {count} taps are too many to list; axes has them by axis")
        per_axis = [zip(*taps, strict=True) for taps in self._taps_by_axis()]
        return tuple(self._tap(pairs) for pairs in itertools.product(*per_axis))

    def _taps_by_axis(self) -> list[tuple[range, range]]:
        assert self.output is not None
        return [axis.taps(at) for axis, at in zip(self.axes, self.output, strict=True)]

    def _count_taps(self) -> tuple[int, int]:
        """Count the taps of the chosen output element, and those of them that are padding."""
        positions = [on_axis for _, on_axis in self._taps_by_axis()]
        count = math.prod(map(len, positions))
        return count, count - math.prod(map(Axis.inside, self.axes, positions))

    def _tap(self, pairs: tuple[tuple[int, int], ...]) -> Tap:
        kernel, position = zip(*pairs, strict=True)
        inside = all(a.is_inside(p) for a, p in zip(self.axes, position, strict=True))
        return Tap(kernel, position, padding=not inside)

    def __str__(self) -> str:
        """Write the explanation as plain text."""
        return "\n".join(_plain_report(self))

    def __repr__(self) -> str:
        """Write the explanation as plain text, so that a prompt shows it."""
        return str(self)

    def _repr_markdown_(self) -> str:
        return "\n".join(_markdown_report(self))


def explain(
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] | Sequence[tuple[int, int]] = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    output_size: int | Sequence[int] | None = None,
    layout: str = "channels_first",
    transposed: bool = False,
    output: int | Sequence[int] | None = None,
) -> Explanation:
    """Explain a convolution, or say why it fails and what would mend it.

    For a call that works: the output size worked out in its formula with the numbers put in, and
    the taps (input positions and weights) that feed one output element. For a call that fails:
    the message that the call itself raises, and the nearest arguments that work; each has been
    tried.

    Parameters
    ----------
    input_shape, weight_shape : sequence of int
        Shapes of the data and of the weight, as the function itself would get them.
    stride, padding, dilation, groups, layout
        As in `conv2d`.
    output_padding, output_size
        As in `conv_transpose2d`; for ``transposed=True`` only.
    transposed : bool, default False
        Explain the transposed convolution.
    output : int or sequence of int, optional
        Spatial position of the output element whose taps to list, the first one by default;
        negative positions count from the end.

    Returns
    -------
    Explanation
        Prints as text; shows formulas and tables in a notebook.

    Raises
    ------
    ValueError
        If `output` is no position in the output, or an argument of transposed convolution is
        given for a convolution. Arguments with which the call itself fails do not raise here: the
        explanation then has the message as its `error`.
    TypeError
        If `transposed` is not a bool, or `output` is not made of ints.

    See Also
    --------
    receptive_field : The input that one output of a stack of layers sees.

    Notes
    -----
    Sizes are equations (10) and (11) of docs/math.md, taps equations (1) and (6).

    Examples
    --------
    >>> print(explain((1, 3, 7, 8), (16, 3, 3, 3), stride=2, padding=1))
    conv2d: input (1, 3, 7, 8), weight (16, 3, 3, 3), stride=2, padding=1
    <BLANKLINE>
    Output size = floor((n + before + after - d*(k - 1) - 1) / s) + 1
      height  floor((7 + 1 + 1 - 1*(3 - 1) - 1) / 2) + 1
              = floor(6 / 2) + 1
              = 4
      width   floor((8 + 1 + 1 - 1*(3 - 1) - 1) / 2) + 1
              = floor(7 / 2) + 1
              = 4
              the last 1 of the padded input is never read
    Output shape: (1, 16, 4, 4)
    <BLANKLINE>
    Output element (0, 0) of each channel: 9 taps, 5 of them padding (*),
    in each of 3 input channels; input position = s*o - before + d*k
      height  kernel    0  1  2
              input   -1*  0  1
      width   kernel    0  1  2
              input   -1*  0  1

    >>> print(explain((1, 4, 5, 5), (8, 3, 3, 3)))
    conv2d: input (1, 4, 5, 5), weight (8, 3, 3, 3)
    <BLANKLINE>
    This fails: conv2d: weight has 3 input channels per group, but x has 4 channels and groups=1
    <BLANKLINE>
    Works instead:
      weight_shape=(8, 4, 3, 3)  gives (1, 8, 3, 3)
      input_shape=(1, 3, 5, 5)  gives (1, 8, 3, 3)
    """
    call: dict[str, Any] = {
        "input_shape": input_shape,
        "weight_shape": weight_shape,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "layout": layout,
    }
    transposed = _arguments.flag("explain", "transposed", transposed)
    if transposed:
        call |= {"output_padding": output_padding, "output_size": output_size}
    elif (
        output_size is not None
        or _arguments.is_sequence(output_padding)
        or _arguments.integer("explain", "output_padding", output_padding)
    ):
        raise ValueError("explain: output_padding and output_size need transposed=True")
    operation = _operation_name(weight_shape, transposed)
    try:
        output_shape, axes = resolve(operation, transposed=transposed, **call)
    except PROBLEMS as problem:
        remedies = tuple(find_remedies(call, transposed))
        return Explanation(operation, call, str(problem), None, None, (), remedies)
    chosen = _chosen_output(output, axes)
    return Explanation(operation, call, None, output_shape, chosen, axes, ())


def _operation_name(weight_shape: Any, transposed: bool) -> str:
    stem = "conv_transpose" if transposed else "conv"
    nd = 0
    if _arguments.is_sequence(weight_shape):
        with contextlib.suppress(*PROBLEMS):
            nd = len(_arguments.items_of("", "", weight_shape)) - 2
    return f"{stem}{nd}d" if nd in _arguments.AXES else stem


def _chosen_output(output: Any, axes: Sequence[Axis]) -> tuple[int, ...] | None:
    sizes = tuple(axis.output for axis in axes)
    if output is None:
        return None if 0 in sizes else (0,) * len(axes)
    position = _arguments.size("explain", "output", output, len(axes), -max(sizes))
    if not all(-n <= at < n for at, n in zip(position, sizes, strict=True)):
        raise ValueError(f"explain: output {position} is no position in an output of size {sizes}")
    return tuple(at % n for at, n in zip(position, sizes, strict=True))


# ---- the numbers in the formulas -----------------------------------------------------------------


def _expression(axis: Axis) -> str:
    """Put the numbers of one axis into the formula's sum."""
    n, k, s, d = axis.input, axis.kernel, axis.stride, axis.dilation
    if axis.transposed:
        numbers = f"{s}*({n} - 1) + {d}*({k} - 1) + 1{_signed(-axis.before, -axis.after)}"
        return numbers + f" + {axis.output_padding}"
    return f"{n}{_signed(axis.before, axis.after)} - {d}*({k} - 1) - 1"


def _signed(*numbers: int) -> str:
    """Terms of a sum, each with its sign: ``" + 1 - 2"``; a negated zero stays a "- 0"."""
    return "".join(f" {'-' if n < 0 else '+'} {abs(n)}" for n in numbers)


def _steps(axis: Axis) -> list[str]:
    """Work out the output size of one axis, from the formula with numbers to the result."""
    if axis.transposed:
        return [_expression(axis), str(axis.output)]
    total = axis.input + axis.before + axis.after - axis.reach
    return [
        f"floor(({_expression(axis)}) / {axis.stride}) + 1",
        f"floor({total} / {axis.stride}) + 1",
        str(axis.output),
    ]


def _latex_steps(axis: Axis) -> list[str]:
    expression = _expression(axis).replace("*", r" \cdot ")
    if axis.transposed:
        return [expression, str(axis.output)]
    total = axis.input + axis.before + axis.after - axis.reach
    halves = (rf"\left\lfloor \frac{{{top}}}{{{axis.stride}}} \right\rfloor + 1"
              for top in (expression, total))  # fmt: skip
    return [*halves, str(axis.output)]


def _axis_names(found: Explanation) -> list[str]:
    return _arguments.AXES[len(found.axes)].split(", ")


def _named_axes(found: Explanation) -> Iterator[tuple[str, Axis, list[tuple[str, str]]]]:
    """Name, axis and the printed taps (kernel index, input position) of each axis."""
    for i, (name, axis) in enumerate(zip(_axis_names(found), found.axes, strict=True)):
        kernel, position = axis.taps(found.output[i]) if found.output else (range(0), range(0))
        if len(kernel) > _MOST_TAPS_PRINTED:
            first = slice(_MOST_TAPS_PRINTED - 2)
            printed = _printed_taps(axis, kernel[first], position[first])
            printed.append(("...", "..."))
            printed += _printed_taps(axis, kernel[-1:], position[-1:])
        else:
            printed = _printed_taps(axis, kernel, position)
        yield name, axis, printed


def _printed_taps(axis: Axis, kernel: range, position: range) -> list[tuple[str, str]]:
    return [
        (str(k), f"{p}{'' if axis.is_inside(p) else '*'}")
        for k, p in zip(kernel, position, strict=True)
    ]


def _settings(found: Explanation) -> str:
    """List the shapes, and the arguments that are not at their defaults."""
    shapes = ("input_shape", "weight_shape")
    defaults: dict[str, Any] = dict.fromkeys(("stride", "dilation", "groups"), 1)
    defaults |= {"padding": 0, "output_padding": 0, "output_size": None, "layout": "channels_first"}
    arguments = {name: _shown(value) for name, value in found.arguments.items()}
    settings = [
        f"{name}={arguments[name]}"
        for name in arguments
        if name not in shapes and arguments[name] != repr(defaults[name])
    ]
    input_shape, weight_shape = (arguments[name] for name in shapes)
    return ", ".join([f"input {input_shape}", f"weight {weight_shape}", *settings])


def _shown(value: Any) -> str:
    """Write an argument as code; one that cannot be written, such as 10**5000, by its type."""
    try:
        return repr(value)
    except Exception:  # whatever a hostile __repr__ raises
        return f"{type(value).__name__}(...)"


def _taps_sentence(found: Explanation) -> str:
    number, outside = found._count_taps()
    count = f"{number} tap{'s' * (number != 1)}"
    return f"{count}, {outside} of them padding (*)" if outside else count


def _channels_sentence(found: Explanation) -> str:
    count = found.channels_read
    return f"in each of {count} input channels" if count != 1 else "in one input channel"


# ---- reports -------------------------------------------------------------------------------------

_SIZE = {
    False: "floor((n + before + after - d*(k - 1) - 1) / s) + 1",
    True: "s*(n - 1) + d*(k - 1) + 1 - before - after + output_padding",
}
_POSITION = {
    False: "s*o - before + d*k",
    True: "(o + before - d*k) / s, where whole",
}
_LATEX_SIZE = {
    False: r"\left\lfloor \frac{n + p_\text{before} + p_\text{after} - d(k - 1) - 1}{s}"
    r" \right\rfloor + 1",
    True: r"s(n - 1) + d(k - 1) + 1 - p_\text{before} - p_\text{after} + p_\text{output}",
}
_LATEX_POSITION = {
    False: r"s\,o - p_\text{before} + d\,k",
    True: r"(o + p_\text{before} - d\,k) / s \text{, where whole}",
}


def _plain_report(found: Explanation) -> Iterator[str]:
    yield f"{found.operation}: {_settings(found)}"
    yield ""
    if found.error:
        yield f"This fails: {found.error}"
        yield ""
        yield "Works instead:" if found.remedies else "No small change was found that mends it."
        for remedy in found.remedies:
            yield f"  {_changes(remedy)}  gives {remedy.output_shape}"
        return
    width = max(len(name) for name in _axis_names(found))
    yield f"Output size = {_SIZE[found.axes[0].transposed]}"
    for name, axis, _ in _named_axes(found):
        first, *rest = _steps(axis)
        yield f"  {name:{width}}  {first}"
        yield from (f"  {'':{width}}  = {step}" for step in rest)
        if not axis.transposed and axis.left_over:
            yield f"  {'':{width}}  the last {axis.left_over} of the padded input is never read"
    yield f"Output shape: {found.output_shape}"
    if found.output is None:
        return
    yield ""
    yield f"Output element {found.output} of each channel: {_taps_sentence(found)},"
    yield f"{_channels_sentence(found)}; input position = {_POSITION[found.axes[0].transposed]}"
    for name, _, taps in _named_axes(found):
        if not taps:
            yield f"  {name:{width}}  no tap: only the bias arrives here"
            continue
        cells = [max(map(len, pair)) for pair in taps]
        rows = zip(*taps, strict=True)
        for label, title, row in zip((name, ""), ("kernel", "input"), rows, strict=True):
            numbers = "  ".join(map(str.rjust, row, cells))
            yield f"  {label:{width}}  {title:6}  {numbers}"


def _markdown_report(found: Explanation) -> Iterator[str]:
    yield f"**{found.operation}**: {_settings(found)}"
    yield ""
    if found.error:
        yield f"**This fails:** {found.error}"
        yield ""
        if found.remedies:
            yield from ("| works instead | output shape |", "| :-- | :-- |")
        for remedy in found.remedies:
            yield f"| `{_changes(remedy)}` | {remedy.output_shape} |"
        return
    transposed = found.axes[0].transposed
    rows = [rf"\text{{output size}} &= {_LATEX_SIZE[transposed]}"]
    for name, axis, _ in _named_axes(found):
        first, *rest = _latex_steps(axis)
        rows += [rf"\text{{{name}}} &= {first}", *(f"&= {step}" for step in rest)]
    yield r"$$\begin{aligned}"
    yield " \\\\\n".join(rows)
    yield r"\end{aligned}$$"
    yield ""
    for name, axis, _ in _named_axes(found):
        if not transposed and axis.left_over:
            yield f"Along {name} the last {axis.left_over} of the padded input is never read."
            yield ""
    yield f"**Output shape:** {found.output_shape}"
    if found.output is None:
        return
    yield ""
    yield f"**Output element {found.output}** of each channel: {_taps_sentence(found)},"
    yield f"{_channels_sentence(found)}; input position $= {_LATEX_POSITION[transposed]}$".replace(
        "*", r"\*"
    )
    yield ""
    count = max((len(taps) for *_, taps in _named_axes(found)), default=0)
    yield "| axis | |" + " |" * count
    yield "| :-- | :-- |" + " --: |" * count
    for name, _, taps in _named_axes(found):
        for title, which in (("kernel", 0), ("input", 1)):
            row = [pair[which].replace("*", r"\*") for pair in taps]
            row += [""] * (count - len(row))
            label = name if which == 0 else ""
            yield f"| {' | '.join([label, title, *row])} |"


def _changes(remedy: Remedy) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in remedy.changes.items())
