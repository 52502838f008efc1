"""`receptive_field`: how much of the input one output of a stack of layers sees."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from convlab import _arguments
from convlab._taps import Axis

_KEYS = ("kernel_size", "stride", "padding", "dilation", "transposed")

# Fields of this many outputs are worked out one by one, in a second or so.
_LARGEST_PERIOD = 2**16
_MOST_LAYERS = 10_000


@dataclass(frozen=True)
class LayerField:
    """The receptive field after one layer of a stack; tuples hold one value per spatial axis.

    Attributes
    ----------
    layer : str
        The layer's parameters.
    size : tuple of int
        Input cells from the first to the last that one output depends on; where outputs differ
        (behind a transposed convolution they do), the largest.
    jump : tuple of Fraction
        Step in the input between neighbouring outputs; below 1 where the stack enlarges.
    start : tuple of int
        First input cell that output 0 depends on (behind a transposed convolution, that any of the
        outputs of the first period does); negative in the padding.
    """

    layer: str
    size: tuple[int, ...]
    jump: tuple[Fraction, ...]
    start: tuple[int, ...]


@dataclass(frozen=True, repr=False)
class ReceptiveField:
    """What `receptive_field` found out; print it, or let a notebook show it.

    Attributes
    ----------
    layers : tuple of LayerField
        The field after each layer, the first layer first.
    """

    layers: tuple[LayerField, ...]

    @property
    def size(self) -> tuple[int, ...]:
        """Size after the last layer."""
        return self.layers[-1].size

    @property
    def jump(self) -> tuple[Fraction, ...]:
        """Jump after the last layer."""
        return self.layers[-1].jump

    @property
    def start(self) -> tuple[int, ...]:
        """Start after the last layer."""
        return self.layers[-1].start

    def __str__(self) -> str:
        """Write the table as plain text."""
        rows = [("layer", "size", "jump", "start"), *self._rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return "\n".join(lines)

    def __repr__(self) -> str:
        """Write the table as plain text, so that a prompt shows it."""
        return str(self)

    def _repr_markdown_(self) -> str:
        rows = [("layer", "size", "jump", "start"), (":--",) * 4, *self._rows()]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for field in self.layers:
            numbers = (field.size, field.jump, field.start)
            yield field.layer, *(" x ".join(map(str, values)) for values in numbers)


def receptive_field(layers: Sequence[int | Mapping[str, Any]]) -> ReceptiveField:
    """Work out how much of the input one output of a stack of layers depends on.

    Per axis, a convolution takes a field of (size, jump, start) to
    ``(size + d*(k - 1)*jump, s*jump, start - before*jump)``. Behind a transposed convolution the
    fields of neighbouring outputs differ, and each kind of output is followed by itself.

    Parameters
    ----------
    layers : sequence of int or mapping
        The layers, from the input on. A mapping has ``kernel_size`` and may have ``stride``,
        ``padding``, ``dilation`` and ``transposed``, each as in `conv2d`; an int stands for a
        convolution with that kernel size. Pooling counts as a convolution.

    Returns
    -------
    ReceptiveField
        Prints as a table; ``size``, ``jump`` and ``start`` are those of the whole stack.

    Raises
    ------
    ValueError
        If there is no layer, layers disagree about the number of axes, or a padding of "same" has
        a stride and so depends on the size of the input.
    TypeError
        If a layer is neither an int nor a mapping, or has a key that is not listed above.

    Notes
    -----
    Equation (17) of docs/math.md, for stacks of convolutions.

    Examples
    --------
    >>> vgg = [3, 3, {"kernel_size": 2, "stride": 2}, 3, 3]
    >>> print(receptive_field(vgg))
    layer                   size  jump  start
    kernel_size=3           3     1     0
    kernel_size=3           5     1     0
    kernel_size=2 stride=2  6     2     0
    kernel_size=3           10    2     0
    kernel_size=3           14    2     0
    """
    name = "receptive_field"
    items = _arguments.items_of(name, "layers", layers, _MOST_LAYERS)
    stack = [_as_mapping(layer) for layer in items]
    if not stack:
        raise ValueError(f"{name}: layers must hold at least one layer")
    nd = _rank(stack)
    parsed = [_layer_axes(layer, nd) for layer in stack]
    columns = [list(_fields_of_axis(axes)) for axes in zip(*parsed, strict=True)]
    fields = []
    for layer, values in zip(stack, zip(*columns, strict=True), strict=True):
        text = " ".join(f"{key}={value}" for key, value in layer.items())
        fields.append(LayerField(text, *zip(*values, strict=True)))
    return ReceptiveField(tuple(fields))


def _as_mapping(layer: Any) -> Mapping[str, Any]:
    if not isinstance(layer, Mapping):
        layer = {"kernel_size": layer}
    unknown = [key for key in layer if key not in _KEYS]
    if unknown or "kernel_size" not in layer:
        raise TypeError(
            f"receptive_field: a layer needs kernel_size and may have {', '.join(_KEYS[1:])}; "
            f"got {', '.join(map(str, layer))}"
        )
    return layer


def _rank(stack: Sequence[Mapping[str, Any]]) -> int:
    """Spatial axes, from the arguments that list one value for each; 1 where all are ints."""
    values = [v for layer in stack for k, v in layer.items() if k != "transposed"]
    lengths = {len(v) for v in values if _arguments.is_sequence(v)} or {1}
    if len(lengths) > 1 or not lengths <= set(_arguments.AXES):
        raise ValueError(
            f"receptive_field: layers have {sorted(lengths)} values per axis, "
            "but there are 1 to 3 axes, the same for all"
        )
    return lengths.pop()


def _layer_axes(layer: Mapping[str, Any], nd: int) -> list[Axis]:
    name = "receptive_field"
    kernel, stride, dilation = (
        _arguments.per_axis(name, key, layer.get(key, 1), nd, 1)
        for key in ("kernel_size", "stride", "dilation")
    )
    transposed = _arguments.flag(name, "transposed", layer.get("transposed", False))
    padding = _arguments.padding(name, layer.get("padding", 0), nd)
    if isinstance(padding, str):
        if max(stride) > 1:
            raise ValueError(
                f"{name}: padding={padding!r} with stride {stride} depends on the size of the "
                "input; give it as numbers"
            )
        odd_one_first = padding == "same_lower"
        missing = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        before = tuple((total + odd_one_first) // 2 for total in missing)
    else:
        before = padding[0]
    return [
        Axis(1, k, s, d, b, transposed=transposed)
        for k, s, d, b in zip(kernel, stride, dilation, before, strict=True)
    ]


def _fields_of_axis(layers: Sequence[Axis]) -> Iterator[tuple[int, Fraction, int]]:
    """(size, jump, start) after each layer, on one axis.

    `spans` holds the first and last input cell of outputs 0 to P-1; output o + P sees what o sees,
    `shift` cells later. A convolution of stride s shortens the period P by gcd(P, s), a transposed
    one makes it s times as long. None stands for an output that sees nothing.
    """
    spans: list[tuple[int, int] | None] = [(0, 0)]
    shift = 1
    for layer in layers:
        period, stride = len(spans), layer.stride
        if layer.transposed:
            new_period, moved = period * stride, period
        else:
            new_period = period // math.gcd(period, stride)
            moved = new_period * stride
        if new_period > _LARGEST_PERIOD:
            raise ValueError(
                f"receptive_field: layers give outputs of {new_period} kinds; "
                f"at most {_LARGEST_PERIOD} are followed"
            )
        spans = [_union(spans, shift, layer, output) for output in range(new_period)]
        shift = shift * moved // period
        seen = [span for span in spans if span]
        size = max((last - first + 1 for first, last in seen), default=0)
        start = min((first for first, _ in seen), default=0)
        yield size, Fraction(shift, new_period), start


def _union(
    spans: Sequence[tuple[int, int] | None], shift: int, layer: Axis, output: int
) -> tuple[int, int] | None:
    """Span of one output: from the first to the last cell of the spans that feed it."""
    fed = []
    _, positions = layer.taps(output)
    period = len(spans)
    # Each kind of output among the taps has its first and its last tap among these.
    for position in (*positions[:period], *positions[-period:]):
        periods, phase = divmod(position, period)
        span = spans[phase]
        if span:
            fed += [edge + periods * shift for edge in span]
    return (min(fed), max(fed)) if fed else None
