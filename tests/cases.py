"""The shapes: one table that every test of the operations, and the benchmark, draws from.

A :class:`Case` describes one problem as a user would state it: what is passed for ``stride``,
``padding`` and so on, in whatever form the functions accept. Its own shape arithmetic is written
from the formulas, not taken from convlab, so that the two check each other. Dtype and layout are
not part of a case: each case runs in both of both.

The table is built from five parts:

- the shapes of the lessons;
- every parameter alone, moved away from its default with all else at rest;
- every pair of parameter values together, by a deterministic covering array;
- sizes around the boundaries of register tiles and vectors: channels and widths;
- problems large enough to be given to several threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Case:
    """One convolution, or one transposed convolution, with bias."""

    name: str
    ic: int  # channels of x, over all groups
    oc: int  # channels of y, over all groups
    size: tuple[int, ...]  # spatial axes of x
    kernel: tuple[int, ...]
    n: int | None = 1  # None: x has no batch axis
    groups: int = 1
    stride: int | tuple[int, ...] = 1
    padding: int | tuple[int, ...] | Pairs | str = 0
    dilation: int | tuple[int, ...] = 1
    output_padding: int | tuple[int, ...] = 0
    transposed: bool = False

    @property
    def nd(self) -> int:
        return len(self.size)

    def per_axis(self, value: int | Sequence[int]) -> tuple[int, ...]:
        return (value,) * self.nd if isinstance(value, int) else tuple(value)

    @property
    def reach(self) -> tuple[int, ...]:
        """Input elements that one window spans, first to last."""
        dilation = self.per_axis(self.dilation)
        return tuple(d * (k - 1) + 1 for d, k in zip(dilation, self.kernel, strict=True))

    @property
    def pads(self) -> Pairs:
        """Padding as (before, after) of each axis, whatever form it was given in."""
        if self.padding == "valid":
            return ((0, 0),) * self.nd
        if isinstance(self.padding, str):
            return tuple(self._same_pair(axis) for axis in range(self.nd))
        values = (self.padding,) * self.nd if isinstance(self.padding, int) else self.padding
        return tuple((v, v) if isinstance(v, int) else v for v in values)

    def _same_pair(self, axis: int) -> tuple[int, int]:
        stride, reach = self.per_axis(self.stride)[axis], self.reach[axis]
        size = self.size[axis] * (stride if self.transposed else 1)
        total = max((ceil(size / stride) - 1) * stride + reach - size, 0)
        small, large = total // 2, total - total // 2
        return (large, small) if self.padding == "same_lower" else (small, large)

    @property
    def out_size(self) -> tuple[int, ...]:
        """Spatial axes of y; less than 1 somewhere if the problem is not a valid one."""
        stride, extra = self.per_axis(self.stride), self.per_axis(self.output_padding)
        if self.transposed and str(self.padding).startswith("same"):
            return tuple(s * n for n, s in zip(self.size, stride, strict=True))
        axes = zip(self.size, self.reach, stride, self.pads, extra, strict=True)
        if self.transposed:
            return tuple(s * (n - 1) + r - sum(p) + e for n, r, s, p, e in axes)
        return tuple((n + sum(p) - r) // s + 1 for n, r, s, p, _ in axes)

    @property
    def valid(self) -> bool:
        """Whether y has elements and every extra row is one that the strides leave open."""
        extras = zip(
            self.per_axis(self.output_padding),
            self.per_axis(self.stride),
            self.per_axis(self.dilation),
            strict=True,
        )
        return min(self.out_size) >= 1 and all(e < max(s, d) for e, s, d in extras)

    def _data_shape(self, channels: int, size: tuple[int, ...], layout: str) -> tuple[int, ...]:
        batch = () if self.n is None else (self.n,)
        if layout == "channels_last":
            return (*batch, *size, channels)
        return (*batch, channels, *size)

    def x_shape(self, layout: str = "channels_first") -> tuple[int, ...]:
        return self._data_shape(self.ic, self.size, layout)

    def y_shape(self, layout: str = "channels_first") -> tuple[int, ...]:
        return self._data_shape(self.oc, self.out_size, layout)

    def w_shape(self, layout: str = "channels_first") -> tuple[int, ...]:
        if self.transposed:
            channels_first = (self.ic, self.oc // self.groups)
            channels_last = channels_first
        else:
            channels_first = (self.oc, self.ic // self.groups)
            channels_last = channels_first[::-1]
        if layout == "channels_last":
            return (*self.kernel, *channels_last)
        return (*channels_first, *self.kernel)

    @property
    def parameters(self) -> dict:
        """The keyword arguments that a user would pass, all but the layout."""
        keywords = {name: getattr(self, name) for name in ("stride", "padding", "dilation")}
        keywords["groups"] = self.groups
        if self.transposed:
            keywords["output_padding"] = self.output_padding
        return keywords

    def reversed(self) -> Case:
        """Go from the y of this convolution back to its x, by a transposed one."""
        back = replace(
            self,
            ic=self.oc,
            oc=self.ic,
            size=self.out_size,
            padding=self.pads,
            transposed=True,
        )
        missing = tuple(n - out for n, out in zip(self.size, back.out_size, strict=True))
        return replace(back, output_padding=missing)

    @property
    def products(self) -> int:
        """Multiplications of one operation, padding counted."""
        positions = prod(self.size if self.transposed else self.out_size)
        return (self.n or 1) * positions * prod(self.kernel) * self.ic * self.oc // self.groups

    def __str__(self) -> str:
        def short(value: object) -> str:
            if isinstance(value, tuple):
                return "x".join(short(v) if isinstance(v, int) else f"{v[0]}_{v[1]}" for v in value)
            return str(value)

        parts = [
            f"{self.name}-{'deconv' if self.transposed else 'conv'}{self.nd}d",
            "unbatched" if self.n is None else f"n{self.n}",
            f"c{self.ic}to{self.oc}",
            f"in{short(self.size)}",
            f"k{short(self.kernel)}",
        ]
        defaults = {"groups": 1, "stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
        parts += [
            f"{field}{short(getattr(self, field))}"
            for field, default in defaults.items()
            if getattr(self, field) != default
        ]
        return "-".join(parts)


# ---- the lessons ---------------------------------------------------------------------------------

LESSONS = [
    Case("A-layer", 8, 16, (33, 33), (3, 3), n=16, padding=1),
    Case("A-layer", 8, 16, (32, 32), (3, 3), n=16, padding=1),
    Case("B-large", 10, 10, (10, 10), (5, 5), n=10),
    Case("C-one-image", 3, 1, (2, 2), (2, 1), n=None),
    Case("D-matrix", 1, 1, (6, 6), (3, 3)),
    Case("E-rectangular", 4, 5, (32, 35), (3, 2), n=14, stride=2),
    Case("E-plane", 1, 1, (7, 7), (2, 2), n=None, stride=2),
    Case("E-plane", 1, 1, (5, 5), (2, 2), n=None, stride=2),
]
LESSONS_TRANSPOSED = [
    Case("A-layer", 32, 8, (16, 16), (3, 3), n=4, padding=1, transposed=True),
    Case("A-tiny", 1, 1, (2, 2), (3, 3), stride=2, padding=1, transposed=True),
    Case("A-scatter", 1, 1, (2, 2), (3, 3), stride=2, padding=1, output_padding=1, transposed=True),
    Case("B-large", 10, 10, (10, 10), (5, 5), n=10, transposed=True),
    Case("D-matrix", 1, 1, (6, 6), (3, 3), transposed=True),
    Case("D-scatter", 1, 1, (4, 4), (3, 3), stride=4, output_padding=1, transposed=True),
    Case("D-sparse", 1, 1, (8, 8), (3, 3), stride=5, padding=1, transposed=True),
]


# ---- every parameter alone -----------------------------------------------------------------------


_PAIRS = (((1, 0), (2, 3), (0, 1)), ((3, -1), (-1, 0), (0, -2)))
_WORDS = ("valid", "same", "same_lower")


def _tail(value, nd: int):
    """Keep the last nd axes of a value for depth, height, width; a plain value as it is."""
    return value[-nd:] if isinstance(value, tuple) else value


def _alone(transposed: bool) -> Iterable[Case]:
    values = {
        "n": (None, 2, 5),
        "ic": (1, 2, 9),
        "oc": (1, 2, 9),
        "kernel": ((1, 1, 1), (2, 2, 2), (1, 2, 3), (3, 1, 4), (5, 4, 5)),
        "stride": (2, 3, (1, 2, 3), (3, 2, 1), 7),
        "padding": (1, 2, 5, (0, 1, 2), -1, *_PAIRS, *_WORDS),
        "dilation": (2, 3, (1, 2, 3), (3, 2, 1)),
    }
    for nd in (1, 2, 3):
        rest = Case("alone", 3, 4, (9, 8, 11)[-nd:], (3, 3, 3)[-nd:], n=2, transposed=transposed)
        for field, options in values.items():
            for value in options:
                yield replace(rest, **{field: _tail(value, nd)})
        for groups, ic, oc in ((2, 4, 6), (3, 3, 3), (3, 3, 6), (5, 5, 10), (2, 6, 2)):
            yield replace(rest, groups=groups, ic=ic, oc=oc)
        if transposed:
            for extra in (1, (0, 1, 2), (2, 1, 0)):
                yield replace(rest, stride=3, output_padding=_tail(extra, nd))
            yield replace(rest, dilation=3, output_padding=2)


# ---- every pair of values ------------------------------------------------------------------------


def _pairwise(factors: dict[str, tuple]) -> list[dict]:
    """Rows in which every two values of every two factors meet at least once.

    Greedy: each row starts from the first pair not met yet and gives every other factor the value
    that meets the most new ones. Nothing is random, so the table is the same in every run.
    """
    names = list(factors)
    levels = [range(len(values)) for values in factors.values()]
    unmet = {
        ((f, a), (g, b))
        for f, g in itertools.combinations(range(len(names)), 2)
        for a in levels[f]
        for b in levels[g]
    }
    rows = []
    while unmet:
        row = dict(min(unmet))
        for f in range(len(names)):
            if f not in row:
                row[f] = max(
                    levels[f],
                    key=lambda a, f=f, row=row: (
                        sum(tuple(sorted(((f, a), other))) in unmet for other in row.items()),
                        (a + len(rows)) % len(levels[f]),
                    ),
                )
        unmet.difference_update(itertools.combinations(sorted(row.items()), 2))
        rows.append({names[f]: factors[names[f]][a] for f, a in row.items()})
    return rows


_FACTORS = {
    "nd": (1, 2, 3),
    "n": (None, 1, 2, 3),
    "channels": (  # groups, ic, oc
        (1, 1, 1),
        (1, 1, 5),
        (1, 7, 1),
        (1, 3, 8),
        (1, 8, 17),
        (2, 4, 6),
        (2, 16, 32),
        (3, 3, 3),
        (4, 4, 12),
    ),
    "kernel": ((1, 1, 1), (2, 2, 2), (3, 3, 3), (1, 2, 3), (3, 1, 2), (2, 3, 5)),
    "stride": (1, 2, 3, (1, 2, 3), (3, 2, 1)),
    "dilation": (1, 2, 3, (2, 3, 1)),
    "padding": (0, 1, 3, (0, 1, 2), -1, *_PAIRS, *_WORDS),
    "span": ((1, 1, 1), (2, 1, 3), (3, 4, 5), (2, 5, 9)),
}


def _pairs(transposed: bool) -> Iterable[Case]:
    factors = dict(_FACTORS)
    if transposed:
        factors["output_padding"] = (0, 1, (0, 1, 2))
    else:
        factors["remainder"] = (0, 1)
    for row in _pairwise(factors):
        yield _realise(row, transposed)


def _realise(row: dict, transposed: bool) -> Case:
    """Turn one row into a case: as many positions as it asks for, in the smallest input."""
    nd = row["nd"]
    groups, ic, oc = row["channels"]
    case = Case(
        "pair",
        ic,
        oc,
        _tail(row["span"], nd),
        _tail(row["kernel"], nd),
        n=row["n"],
        groups=groups,
        transposed=transposed,
        **{name: _tail(row[name], nd) for name in ("stride", "padding", "dilation")},
    )
    stride, dilation = case.per_axis(case.stride), case.per_axis(case.dilation)
    if transposed:
        wanted = case.per_axis(_tail(row["output_padding"], nd))
        extra = tuple(
            min(e, max(s, d) - 1) for e, s, d in zip(wanted, stride, dilation, strict=True)
        )
        case = replace(case, output_padding=0 if case.padding in _WORDS else extra)
    else:
        axes = zip(case.size, case.reach, stride, case.pads, strict=True)
        spans = [s * (out - 1) + r - sum(p) + row["remainder"] for out, r, s, p in axes]
        case = replace(case, size=tuple(max(span, 1) for span in spans))
    while not case.valid:
        case = replace(case, size=tuple(size + 1 for size in case.size))
    return case


# ---- tile and vector boundaries ------------------------------------------------------------------

CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 48, 64, 65)
WIDTHS = range(1, 21)


def _boundaries(transposed: bool) -> Iterable[Case]:
    for c in CHANNELS:
        for ic, oc in {(c, 3), (3, c), (c, c), (c, 16), (16, c)}:
            yield Case("channels", ic, oc, (4, 5), (3, 3), padding=1, transposed=transposed)
        yield Case("depthwise", c, c, (4, 7), (3, 3), groups=c, padding=1, transposed=transposed)
        yield Case(
            "depthwise stride2",
            c,
            c,
            (4, 9),
            (3, 3),
            groups=c,
            stride=2,
            padding=1,
            transposed=transposed,
        )
        yield Case("pointwise", c, 9, (3, 5), (1, 1), n=2, transposed=transposed)
        yield Case("stride2", c, 17, (5, 6), (3, 3), stride=2, padding=1, transposed=transposed)
    for width in WIDTHS:
        yield Case("width", 1, 1, (3, width), (3, 3), padding=1, transposed=transposed)
        yield Case("width", 5, 9, (2, width), (1, 3), padding=(0, 1), transposed=transposed)
        yield Case("width", 3, 4, (width,), (5,), padding=2, stride=2, transposed=transposed)
        yield Case(
            "height", 9, 5, (width, 3), (3, 1), padding=(1, 0), stride=2, transposed=transposed
        )
        for oc, groups in ((1, 1), (2, 1), (3, 3)):
            yield Case(
                "summed planes",
                6,
                oc,
                (40, width),
                (3, 3),
                n=3,
                groups=groups,
                padding=1,
                transposed=transposed,
            )
        for padding in range(3):
            if not transposed or 2 * width + 1 > 2 * padding:
                size = (width, 6) if width % 2 else (6, width)
                yield Case(
                    "depthwise width",
                    17,
                    17,
                    size,
                    (3, 3),
                    groups=17,
                    stride=2,
                    padding=padding,
                    output_padding=(width // 2 % 2, width // 4 % 2) if transposed else 0,
                    transposed=transposed,
                )
    for size, kernel in (((30, 29), (5, 7)), ((2, 9, 17), (3, 3, 3)), ((24, 24), (11, 2))):
        yield Case("summed planes", 5, 1, size, kernel, n=2, padding=1, transposed=transposed)
        yield Case(
            "summed planes",
            5,
            1,
            size,
            kernel,
            stride=(1, 2, 1)[-len(size) :],
            transposed=transposed,
        )
    # Rows so long that tasks take parts of them.
    for ic, oc, groups in ((1, 1, 1), (3, 2, 1), (16, 16, 16)):
        yield Case(
            "long rows",
            ic,
            oc,
            (3, 20000),
            (3, 3),
            groups=groups,
            padding=1,
            transposed=transposed,
        )
    # So many phases that their list is no longer on the stack.
    size = (3, 4) if transposed else (150, 230)
    yield Case("phases", 3, 4, size, (3, 5), stride=(70, 65), transposed=transposed)


# ---- enough work for several threads -------------------------------------------------------------

# Each has enough for seven threads (support/threads.c), whatever loops it takes.
LARGE = [
    Case("large", 16, 32, (7, 7), (3, 3), n=16, padding=1),
    Case("large", 64, 64, (9, 11), (3, 3), n=2, padding=1),
    Case("large", 3, 24, (43, 48), (7, 7), n=2, stride=2, padding=3),
    Case("large", 96, 96, (28, 31), (3, 3), n=5, groups=96, padding=1),
    Case("large", 64, 80, (15, 14), (1, 1), n=4),
    Case("large", 1, 1, (270, 271), (7, 7), n=None, padding=3),
    Case("large", 32, 1, (28, 28), (3, 3), n=24, padding=1),
    Case("large", 1, 32, (28, 28), (3, 3), n=24, padding=1),
    Case("large", 61, 1, (25, 140), (7, 2), n=3, dilation=(2, 1), padding=(0, 1)),
    Case("large", 1, 1, (4, 50000), (3, 5), padding=(1, 2)),
    Case("large", 48, 48, (15, 15), (3, 3), n=12, groups=4, stride=2, dilation=2, padding=2),
    Case("large", 12, 20, (1700,), (9,), dilation=4, padding=16),
    Case("large", 6, 10, (7, 9, 11), (3, 3, 3), n=4, padding="same"),
    # Panels of several tiles, the last of which are narrow; taps that are read from memory.
    Case("large", 300, 148, (19, 20), (1, 2), n=2),
    # Few channels of x, whose dw has the taps of a row side by side: groups that share tasks, the
    # last of them fewer; several blocks of lanes; windows apart.
    Case("large", 200, 200, (13, 14), (3, 3), n=2, groups=25, stride=2, padding=1),
    Case("large", 68, 34, (9, 21), (2, 5), n=3, groups=17, padding=(1, 2)),
    Case("large", 1, 70, (4000,), (10,), stride=5),
    Case("large", 21, 18, (23, 24), (5, 5), n=2, padding=2),
    Case("large", 3, 40, (23, 4000), (3, 2), stride=(2, 7)),
    Case("large", 256, 284, (277,), (2,), n=3, groups=4, stride=3, padding=1),
]

# Patches: windows that do not overlap, or hardly, of many taps each; one that reads more than a
# chunk of positions should.
PATCHES = [
    Case("patch", 3, 40, (64, 67), (16, 16), n=2, stride=16),
    Case("patch", 2, 17, (60, 150), (9, 8), stride=(8, 7), padding=(3, 2)),
    Case("patch", 1, 24, (700,), (20,), stride=9, padding=4, dilation=2),
    Case("patch", 3, 64, (224, 224), (32, 32), n=2, stride=32),
]

# Few positions: weights are most of what is read. Kernels that cover their input, whose taps are as
# good as channels; images that stand side by side; more images than a tile has columns; a tap
# between two others that meets padding alone; weights so many that dw is written past the caches,
# and that they come from memory.
FEW = [
    Case("few", 300, 70, (1, 1), (1, 1), n=1),
    Case("few", 301, 71, (1, 1), (1, 1), n=7),
    Case("few", 520, 64, (2, 3), (1, 1), n=2),
    Case("few", 66, 33, (3, 5), (3, 5), n=3),
    Case("few", 66, 33, (3, 5), (3, 4), n=2),
    Case("few", 64, 64, (4, 5, 3), (4, 5, 3), n=1),
    Case("few", 96, 48, (6,), (6,), n=5, groups=3),
    Case("few", 140, 140, (4, 4), (3, 3), n=None, padding=1),
    Case("few", 2100, 2048, (1, 1), (1, 1), n=2),
    Case("few", 512, 512, (2, 2), (3, 3), n=2, padding=1),
    Case("few", 256, 300, (4, 4), (4, 4), n=3),
    Case("few", 300, 256, (4, 5), (4, 4), stride=2, padding=1),
    Case("few", 64, 64, (1, 8), (3, 3), n=8, stride=2, padding=2),
    Case("few", 128, 512, (16, 13), (5, 4), n=2, stride=(5, 4)),
    Case("few", 512, 256, (6, 7), (3, 3), stride=2, padding=1),
    Case("few", 260, 256, (2, 3, 4), (3, 3, 3), padding=1),
    # Or few channels of y, of one tap: inputs are most of what is read. Long lines, in several
    # parts; lines that end within a vector, and less than one; steps that end within one; more
    # lines of x than stay near; lines apart, padding between them.
    Case("few", 64, 2, (9, 11), (1, 1), n=2),
    Case("few", 301, 3, (30, 31), (1, 1)),
    Case("few", 67, 1, (40007,), (1,)),
    Case("few", 40, 8, (130, 131), (1, 1), n=2),
    Case("few", 513, 7, (5, 6), (1, 1), n=3),
    Case("few", 200, 5, (41, 43), (1, 1), n=2),
    Case("few", 128, 6, (12, 13), (1, 1), n=2, groups=2),
    Case("few", 64, 4, (5, 6, 7), (1, 1, 1), stride=(2, 1, 1)),
    Case("few", 64, 4, (9, 20), (1, 1), stride=(1, 2)),
    Case("few", 34, 2, (3, 3), (1, 1), n=4, padding=1),
    Case("few", 3, 3, (50, 51), (1, 1), n=2),
]

# Groups of a few channels, several of which share a vector: whole vectors of channels, a last one
# that overlaps its neighbour, and less than one; kernels of more taps than are summed at once;
# strides and dilations that part the taps of a row; several blocks of channels.
NARROW = [
    Case("narrow", 32, 32, (9, 11), (3, 3), n=2, groups=8, padding=1),
    Case("narrow", 64, 64, (20, 21), (3, 3), groups=8, stride=2, padding=1),
    Case("narrow", 168, 168, (14, 15), (3, 3), n=2, groups=21, padding=1),
    Case("narrow", 26, 26, (17, 23), (5, 5), groups=13, padding=2),
    Case("narrow", 12, 12, (6, 7), (3, 3), n=3, groups=3),
    Case("narrow", 8, 8, (5, 40), (2, 9), groups=2, padding=(0, 4)),
    Case("narrow", 40, 40, (13, 30), (3, 4), groups=10, stride=(1, 3), dilation=(2, 1), padding=2),
    Case("narrow", 36, 36, (300,), (7,), groups=9, dilation=3, padding=9),
    Case("narrow", 24, 24, (5, 8, 9), (3, 3, 3), groups=6, padding=1),
    Case("narrow", 640, 640, (5, 6), (3, 3), groups=160, padding=1),
    Case("narrow", 48, 48, (11, 12), (1, 1), n=2, groups=6),
]

# So many channels that, channels last, few neighbouring positions keep their lines in the level-1
# cache: images are brought together, rows without others are summed in short strips, and taps far
# apart are walked one by one.
CROWDED = [
    Case("crowded", 512, 512, (6, 7), (3, 3), n=2, groups=512, padding=1),
    Case("crowded", 1024, 1024, (5, 6), (3, 3), groups=1024, stride=2, padding=1),
    Case("crowded", 512, 512, (9, 8), (5, 3), groups=512, padding=(2, 0)),
    Case("crowded", 512, 512, (3, 5, 4), (3, 3, 3), groups=512, padding=1),
    Case("crowded", 512, 512, (90,), (4,), n=2, groups=512, padding=((3, 0),)),
    Case("crowded", 1024, 1024, (160,), (3,), groups=1024, dilation=32, padding=32),
    # So many results that they are written past the caches, a few rows at a time.
    Case("crowded", 128, 128, (14, 14), (7, 7), n=84, groups=128, padding=3),
]

# Several depths of taps whose rows are walked down together, channels last: every number of them,
# fewer where the padding begins, one again; a stride and a dilation of the depth; two strides; so
# many taps that a walk would end within them.
DEPTHS = [
    Case("depths", 36, 36, (5, 11, 9), (2, 3, 3), n=2, groups=36, stride=2, padding=1),
    Case("depths", 40, 40, (7, 9, 12), (5, 3, 3), groups=40, padding=(4, 1, 1), dilation=(2, 1, 1)),
    Case("depths", 33, 33, (6, 10, 13), (3, 3, 3), groups=33, stride=(1, 2, 2), padding=(0, 1, 1)),
    Case("depths", 24, 24, (1, 12, 10), (3, 3, 3), groups=24, padding=1),
    Case("depths", 17, 17, (9, 8, 9), (8, 3, 3), groups=17, padding=(1, 1, 1)),
    # Images that would not fit the cache if they were brought together.
    Case("depths", 128, 128, (2, 40, 41), (3, 3, 3), groups=128, padding=1),
]

# Images larger than 4 MiB, whose rows are swept, channels last: a stride, with padding that taps
# reach on one side only; classes of rows that a dilation parts; fewer rows of taps; channels that
# are whole cache lines, and others.
SWEPT = [
    Case("swept", 48, 48, (149, 150), (3, 3), groups=48, stride=2, padding=1),
    Case("swept", 32, 32, (130, 129), (3, 3), n=2, groups=32, padding=(2, 3), dilation=(2, 3)),
    Case("swept", 37, 37, (171, 173), (2, 3), groups=37, padding=1),
]

# Planes of one channel, whose rows are read where they stand: rows that leave lanes empty, and that
# end within a vector; two filters to a channel; strides and dilations of the height; filters of
# more rows or columns than are summed at once, as of dw; several depths; blocks of rows.
PLANES = [
    Case("plane", 24, 24, (30, 14), (3, 3), n=2, groups=24, padding=1),
    Case("plane", 20, 40, (19, 21), (3, 3), n=2, groups=20, padding=1),
    Case("plane", 40, 40, (9, 5), (3, 3), n=3, groups=40, padding=(2, 1)),
    Case("plane", 17, 17, (25, 33), (5, 2), groups=17, stride=(2, 1), padding=2, dilation=(1, 3)),
    Case("plane", 20, 20, (40, 23), (3, 3), n=2, groups=20, padding=(3, 2), dilation=(3, 2)),
    Case("plane", 3, 3, (40, 50), (9, 3), groups=3, padding=(4, 0)),
    Case("plane", 2, 2, (30, 70), (2, 19), groups=2, padding=(1, 9)),
    Case("plane", 32, 32, (6, 9, 10), (3, 3, 3), n=2, groups=32, padding=1),
    Case("plane", 1, 2, (600, 37), (3, 3), padding=1),
    Case("plane", 1, 1, (70, 600), (5, 5), padding=2),
]

# Channels enough for Winograd's filtering, with every instruction set that has it. Most are
# filtered in one of the operations or layouts; the C tests filter such shapes whatever it is
# estimated to cost. A vector and little more, several blocks, several lots of blocks; last tiles
# that are cut; kernels in parts, by length and by stride, and inputs of them that the level-2
# cache does not hold; phases that read other taps, and fewer; windows apart; lines that are cut;
# taps of the depth, and of one axis alone; weights of phases that are copied before, of some
# channels or groups at a time; a share of the tiles in which the shorter phases have none; one
# depth that meets several taps of it, in either order; weights so many that dw is written past the
# caches.
FILTERED = [
    Case("filtered", 17, 19, (13, 14), (3, 3), n=2, padding=1),
    Case("filtered", 33, 70, (9, 12), (3, 3), n=8, padding=1),
    Case("filtered", 64, 150, (14, 15), (3, 3), n=4),
    Case("filtered", 300, 280, (8, 9), (3, 3), n=2, padding=1),
    Case("filtered", 128, 128, (10, 11), (3, 3), n=4, groups=2, padding=1),
    Case("filtered", 40, 48, (12, 13), (5, 5), n=16, padding=2),
    Case("filtered", 32, 32, (16, 17), (7, 7), padding=3),
    Case("filtered", 128, 128, (20, 21), (5, 5), n=2, padding=2),
    Case("filtered", 48, 64, (17, 18), (3, 3), n=2, stride=2, padding=1),
    Case("filtered", 48, 40, (16, 15), (4, 4), n=2, stride=2, padding=1),
    Case("filtered", 32, 64, (23, 24), (5, 3), stride=(3, 2), padding=2),
    Case("filtered", 64, 64, (19, 20), (3, 3), n=2, dilation=3, padding=3),
    Case("filtered", 64, 64, (21, 22), (3, 3), n=8, stride=2, dilation=2, padding=2),
    Case("filtered", 32, 40, (3, 700), (3, 3), padding=1),
    Case("filtered", 32, 32, (9, 130), (3, 3), dilation=2, padding=2),
    Case("filtered", 64, 64, (12, 13), (2, 2), n=8),
    Case("filtered", 64, 64, (12, 13), (3, 1), padding=(1, 0)),
    Case("filtered", 64, 64, (300,), (3,)),
    Case("filtered", 64, 48, (200,), (11,), n=8, dilation=2, padding=10),
    Case("filtered", 32, 40, (5, 9, 10), (3, 3, 3), padding=1),
    Case("filtered", 200, 192, (3, 5, 5), (3, 3, 3), n=4, padding=1),
    Case("filtered", 130, 140, (1, 8, 9), (3, 3, 3), n=4, padding=(2, 1, 1)),
    Case("filtered", 48, 64, (6, 8, 9), (5, 3, 3), n=4, padding=(2, 1, 1)),
    Case("filtered", 320, 224, (8, 9), (4, 4), stride=2, padding=1),
    Case("filtered", 512, 512, (5, 6), (4, 4), groups=4, stride=2, padding=1),
    Case("filtered", 500, 260, (8, 9), (3, 3), padding=1),
]


# Few channels of many, by columns, forward or dx: one row of many positions, and rows in several
# tasks; sources that no row of positions meets, between taps far apart; phases of which some have
# fewer positions, or no taps; several depths that share their products.
COLUMNS = [
    Case("columns", 40, 3, (13, 14), (3, 3), n=2, padding=1),
    Case("columns", 600, 5, (9, 40), (3, 3), padding=1),
    Case("columns", 64, 2, (150, 33), (5, 5), padding=2),
    Case("columns", 96, 4, (17, 18), (3, 2), groups=2),
    Case("columns", 48, 1, (3000,), (7,), padding=3),
    Case("columns", 48, 2, (31, 20), (3, 3), dilation=(9, 2), padding=(9, 0)),
    Case("columns", 64, 3, (5, 9, 10), (3, 3, 3), padding=1),
    Case("columns", 3, 64, (37, 38), (7, 7), stride=2, padding=3),
    Case("columns", 1, 200, (33, 35), (11, 9), n=2, stride=4, padding=2),
    Case("columns", 2, 96, (40, 26), (2, 3), n=3, stride=3),
    Case("columns", 3, 70, (6, 14, 15), (3, 3, 3), stride=(1, 2, 2), padding=1),
    Case("columns", 4, 80, (1500,), (16,), stride=8, padding=4),
]


LAYERS = LARGE + PATCHES + FEW + NARROW + CROWDED + DEPTHS + SWEPT + PLANES + FILTERED + COLUMNS


def _unique(cases: Iterable[Case]) -> list[Case]:
    """Keep the valid ones, each once, in a fixed order."""
    return sorted({str(case): case for case in cases if case.valid}.values(), key=str)


CONVOLUTIONS = _unique(
    [
        *LESSONS,
        *_alone(False),
        *_pairs(False),
        *_boundaries(False),
        *LAYERS,
    ]
)
TRANSPOSED = _unique(
    [
        *LESSONS_TRANSPOSED,
        *_alone(True),
        *_pairs(True),
        *_boundaries(True),
        *(case.reversed() for case in LAYERS),
    ]
)
CASES = CONVOLUTIONS + TRANSPOSED
