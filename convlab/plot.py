"""Pictures of convolutions: windows on grids, kernels, feature maps, matrices, gradients.

Needs matplotlib, which ``pip install convlab[plot]`` brings. Every function returns a Figure (or an
animation), shows nothing by itself and leaves matplotlib's settings alone. A notebook shows what is
returned; elsewhere ``figure.savefig(...)`` saves it. Shades differ in brightness, so that prints
without colour can be read, and text is drawn to the scale of the cells it belongs to.
"""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from convlab import _arguments
from convlab._taps import Axis, resolve

try:
    from matplotlib import colormaps
    from matplotlib.animation import FuncAnimation, PillowWriter
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import Colormap, ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import PathPatch, Rectangle
    from matplotlib.textpath import TextPath
    from matplotlib.ticker import MaxNLocator
    from matplotlib.transforms import Affine2D
except ImportError as error:
    raise ImportError(
        "convlab.plot draws with matplotlib, which cannot be imported here; "
        "pip install matplotlib, or install convlab with its extra: convlab[plot]"
    ) from error

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "ConvAnimation",
    "animate_conv",
    "draw_conv",
    "show_feature_maps",
    "show_gradients",
    "show_kernels",
    "show_matrix",
]

# Brightness falls from plain cells over empty ones and taps to the chosen element.
_FACES = {"data": "#ffffff", "padding": "#ececec", "zero": "#ececec", "cropped": "#ececec"}
_EDGES = {"data": "#404040", "padding": "#a0a0a0", "zero": "#a0a0a0", "cropped": "#a0a0a0"}
_TAP, _EMPTY_TAP, _CHOSEN, _INK = "#4a8ccc", "#bcd6ee", "#6e2500", "#202020"
_INCHES_PER_CELL = 0.42
_LARGEST_INCHES = 12.0
_GAP = 2.5
_LINE_HEIGHT = 0.9
_LABEL_HEIGHT = 0.36
_CAPTION_WIDTH = 4.5
_LEGEND_WIDTH = 11.5

_Point = tuple[float, float]
# A kernel index, and coordinates on the grid that the window lies on.
_Tap = tuple[tuple[int, ...], tuple[int, ...]]


# ---- the window on the grids ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Grid:
    """Cells of one grid: for each axis, the first coordinate and what every coordinate holds."""

    name: str
    size: tuple[int, ...]
    firsts: tuple[int, ...]
    kinds: tuple[tuple[str, ...], ...]

    def cells(self) -> Iterator[tuple[tuple[int, ...], str]]:
        """Coordinates and kind of every cell; one that is empty on any axis is empty."""
        ranges = [
            range(first, first + len(kinds))
            for first, kinds in zip(self.firsts, self.kinds, strict=True)
        ]
        for at in itertools.product(*ranges):
            yield at, self.kind(at)

    def kind(self, at: Sequence[int]) -> str:
        kinds = {
            kinds[i - first] for i, first, kinds in zip(at, self.firsts, self.kinds, strict=True)
        }
        return next(k for k in ("cropped", "padding", "zero", "data") if k in kinds)


@dataclass(frozen=True)
class _Scene:
    """The two grids, which of them the window lies on, and where it lies for a chosen element."""

    axes: tuple[Axis, ...]
    view: str
    source: _Grid
    target: _Grid

    @property
    def window_grid(self) -> _Grid:
        return self.target if self.view == "scatter" else self.source

    @property
    def element_grid(self) -> _Grid:
        return self.source if self.view == "scatter" else self.target

    def window(self, element: Sequence[int]) -> list[_Tap]:
        """(kernel index, coordinates on the window's grid) of every tap of the kernel."""
        per_axis = [
            [(k, self._coordinate(axis, at, k)) for k in range(axis.kernel)]
            for axis, at in zip(self.axes, element, strict=True)
        ]
        chosen = ([*zip(*pairs, strict=True)] for pairs in itertools.product(*per_axis))
        return [(taps, coordinates) for taps, coordinates in chosen]

    def _coordinate(self, axis: Axis, at: int, k: int) -> int:
        if self.view == "scatter":
            return axis.stride * at - axis.before + axis.dilation * k
        if axis.transposed:
            return at + axis.before - axis.dilation * k
        return axis.stride * at - axis.before + axis.dilation * k

    def is_read(self, at: Sequence[int]) -> bool:
        """Whether a cell under the window holds data (and not a zero, or cropped output)."""
        return self.window_grid.kind(at) == "data"


def _scene(
    function: str,
    input_size: int | Sequence[int],
    kernel: int | Sequence[int],
    view: str,
    **parameters: Any,
) -> _Scene:
    nd = _arguments.spatial_rank(function, input_size=input_size, kernel=kernel)
    if nd > 2:
        raise ValueError(f"{function}: input_size has 3 values, but pictures have 1 or 2 axes")
    transposed = parameters["transposed"]
    if view not in ("gather", "scatter") or (view == "scatter" and not transposed):
        raise ValueError(
            f"{function}: view must be 'gather' or, with transposed=True, 'scatter'; got {view!r}"
        )
    sizes = _arguments.size(function, "input_size", input_size, nd, 1)
    kernels = _arguments.size(function, "kernel", kernel, nd, 1)
    _, axes = resolve(function, (1, *sizes), (1, 1, *kernels), **parameters)
    if any(axis.output == 0 for axis in axes):
        raise ValueError(f"{function}: the output is empty, there is nothing to draw")
    source = [_source_axis(axis, view) for axis in axes]
    target = [_target_axis(axis, view) for axis in axes]
    outputs = tuple(axis.output for axis in axes)
    return _Scene(
        axes,
        view,
        _Grid("input", sizes, *zip(*source, strict=True)),
        _Grid("output", outputs, *zip(*target, strict=True)),
    )


def _source_axis(axis: Axis, view: str) -> tuple[int, tuple[str, ...]]:
    """First coordinate and kinds along one axis of the input, as the window slides over it."""
    if view == "scatter":
        return 0, ("data",) * axis.input
    if axis.transposed:
        step = axis.stride
        first = axis.before - axis.reach + 1
        last = axis.before + axis.output - 1
    else:
        step, first, last = 1, -axis.before, axis.input + axis.after - 1
    end = step * (axis.input - 1)
    low, high = min(first, 0), max(last, end)
    kinds = []
    for u in range(low, high + 1):
        if not 0 <= u <= end:
            kinds.append("padding")
        elif not first <= u <= last:
            kinds.append("cropped")
        else:
            kinds.append("zero" if u % step else "data")
    return low, tuple(kinds)


def _target_axis(axis: Axis, view: str) -> tuple[int, tuple[str, ...]]:
    """First coordinate and kinds along one axis of the output, with what scattering crops."""
    low, high = 0, axis.output
    if view == "scatter":
        low = min(-axis.before, 0)
        high = max(high, axis.stride * (axis.input - 1) + axis.reach - axis.before)
    return low, tuple("data" if 0 <= o < axis.output else "cropped" for o in range(low, high))


def draw_conv(
    input_size: int | Sequence[int],
    kernel: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[Any] = 0,
    dilation: int | Sequence[int] = 1,
    transposed: bool = False,
    output_padding: int | Sequence[int] = 0,
    *,
    at: Sequence[int] | None = None,
    view: Literal["gather", "scatter"] = "gather",
    ax: Axes | None = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw the input and the output of a convolution, and the window between them.

    Cells under the window carry their index in the kernel; dark ones are read, pale ones are zeros
    of the padding. A transposed convolution is drawn as a window that slides over the input spread
    out with zeros (its kernel indices run backwards: the kernel is turned), or, with
    ``view="scatter"``, as one input element spread over the output.

    Parameters
    ----------
    input_size, kernel : int or sequence of int
        Sizes, one per axis: two for a plane, one for a row; an int stands for a square.
    stride, padding, dilation, transposed, output_padding
        As in `conv2d` and `conv_transpose2d`.
    at : sequence of int, optional
        The element the window belongs to, one of the output, or of the input where `view` is
        "scatter"; by default the first. Negative positions count from the end.
    view : {"gather", "scatter"}
        Which way to look at a transposed convolution.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure is made.
    figsize : pair of float, optional
        Width and height of the new figure in inches; by default as the grids need.

    Returns
    -------
    matplotlib.figure.Figure
        The picture. Cells under the window have the gid ``"tap i,j"``, where they hold zeros
        ``"zero tap i,j"``; the chosen element has ``"element i,j"``.

    Raises
    ------
    ValueError
        If sizes and parameters do not fit together, or `at` is no such element.

    Examples
    --------
    >>> figure = draw_conv(5, 3, stride=2, padding=1, at=(1, 1))
    >>> figure.savefig("window.png")  # doctest: +SKIP
    """
    scene = _scene(
        "draw_conv", input_size, kernel, view, stride=stride, padding=padding, dilation=dilation,
        transposed=transposed, output_padding=output_padding,
    )  # fmt: skip
    picture = _Picture(scene, ax, figsize)
    picture.place(_element("draw_conv", scene, at))
    return picture.ax.figure


def _element(function: str, scene: _Scene, at: Any) -> tuple[int, ...]:
    grid = scene.element_grid
    if at is None:
        return (0,) * len(grid.size)
    at = _arguments.per_axis(function, "at", at, len(grid.size), -max(grid.size))
    if not all(-n <= i < n for i, n in zip(at, grid.size, strict=True)):
        raise ValueError(f"{function}: at {at} is no element of an {grid.name} of size {grid.size}")
    return tuple(i % n for i, n in zip(at, grid.size, strict=True))


class ConvAnimation(FuncAnimation):
    """The window moving from element to element; a notebook plays it.

    ``save("name.gif")`` writes a GIF with Pillow; `to_jshtml` gives a player as HTML.
    """

    def save(
        self, filename: Any, writer: Any = None, fps: int | None = None, **kwargs: Any
    ) -> None:
        """Save as `matplotlib.animation.Animation.save` does; without a writer, with Pillow.

        Parameters
        ----------
        filename : path
            Where to.
        writer, fps, **kwargs
            As for `matplotlib.animation.Animation.save`.
        """
        fps = fps or round(1000 / self._interval) or 1
        super().save(filename, writer=writer or PillowWriter(fps=fps), **kwargs)

    def _repr_html_(self) -> str:
        return self.to_jshtml()


def animate_conv(
    input_size: int | Sequence[int],
    kernel: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[Any] = 0,
    dilation: int | Sequence[int] = 1,
    transposed: bool = False,
    output_padding: int | Sequence[int] = 0,
    *,
    view: Literal["gather", "scatter"] = "gather",
    interval: float = 500.0,
    figsize: tuple[float, float] | None = None,
) -> ConvAnimation:
    """Animate `draw_conv`: one frame for each element, row by row.

    Parameters
    ----------
    input_size, kernel, stride, padding, dilation, transposed, output_padding, view, figsize
        As in `draw_conv`.
    interval : float
        Milliseconds that a frame stays.

    Returns
    -------
    ConvAnimation
        A notebook plays it; ``.save("name.gif")`` saves it.

    Raises
    ------
    ValueError
        If sizes and parameters do not fit together.

    Examples
    --------
    >>> animation = animate_conv((4,), 3, padding=1)
    >>> player = animation.to_jshtml()
    >>> animation.save("window.gif")  # doctest: +SKIP
    """
    scene = _scene(
        "animate_conv", input_size, kernel, view, stride=stride, padding=padding,
        dilation=dilation, transposed=transposed, output_padding=output_padding,
    )  # fmt: skip
    picture = _Picture(scene, None, figsize)
    elements = list(itertools.product(*map(range, scene.element_grid.size)))
    return ConvAnimation(
        picture.ax.figure,
        picture.place,
        frames=elements,
        init_func=lambda: [],
        interval=interval,
        cache_frame_data=False,
    )


class _Picture:
    """A scene in an Axes whose data unit is one cell; y grows downwards."""

    def __init__(self, scene: _Scene, ax: Axes | None, figsize: Any) -> None:
        self.scene = scene
        self.flat = len(scene.axes) == 1
        shapes = [tuple(map(len, grid.kinds)) for grid in (scene.source, scene.target)]
        width: float
        (h1, w1), (h2, w2) = ((1, *shape) if self.flat else shape for shape in shapes)
        caption = _LINE_HEIGHT * 1.2
        if self.flat:
            width, height = max(w1, w2), h1 + _GAP + h2 + 2 * caption
            places = ((width - w1) / 2, caption), ((width - w2) / 2, caption + h1 + _GAP)
        else:
            slot1, slot2 = max(w1, _CAPTION_WIDTH), max(w2, _CAPTION_WIDTH)
            width, top = slot1 + _GAP + slot2, max(h1, h2)
            height = top + caption + 0.2
            places = (
                ((slot1 - w1) / 2, caption + (top - h1) / 2),
                (slot1 + _GAP + (slot2 - w2) / 2, caption + (top - h2) / 2),
            )
        self.origins = dict(zip(("input", "output"), places, strict=True))
        entries = list(self._legend_entries())
        rows = _flow([_label_width(text) for _, _, text in entries], max(width, _LEGEND_WIDTH))
        margin = max(_LEGEND_WIDTH - width, 0) / 2
        box = (-margin - 0.2, width + margin + 0.2, -0.2, height + len(rows) * _LINE_HEIGHT + 0.5)
        self.ax = ax if ax is not None else _new_figure(box, figsize).add_axes((0, 0, 1, 1))
        self.ax.set(xlim=box[:2], ylim=(box[3], box[2]), aspect="equal")
        self.ax.set_axis_off()
        self.pen = _pen(self.ax)
        for grid, (h, w) in zip((scene.source, scene.target), ((h1, w1), (h2, w2)), strict=True):
            self._draw_grid(grid, h, w, caption)
        self._draw_legend(entries, rows, height + 0.45, (box[0] + box[1]) / 2)
        self.moving: list[Artist] = []

    def place(self, element: tuple[int, ...]) -> list[Artist]:
        """Move the window to an element."""
        for artist in self.moving:
            artist.remove()
        self.moving = []
        scene = self.scene
        window = scene.window(element)
        cells = [self._corner(scene.window_grid, at) for _, at in window]
        chosen = self._corner(scene.element_grid, element)
        self._draw_links(cells, window, chosen)
        for (k, at), corner in zip(window, cells, strict=True):
            read = scene.is_read(at)
            gid = f"{'' if read else 'zero '}tap {','.join(map(str, at))}"
            self._move(self._cell(corner, _TAP if read else _EMPTY_TAP, _INK, gid))
            text = ",".join(map(str, k))
            self._move(self._text(text, corner, "white" if read else _INK))
        gid = f"element {','.join(map(str, element))}"
        self._move(self._cell(chosen, _CHOSEN, _INK, gid))
        self._move(self._text(",".join(map(str, element)), chosen, "white"))
        self._move(self._outline(cells))
        return self.moving

    def _move(self, artist: Artist) -> None:
        self.moving.append(artist)

    def _corner(self, grid: _Grid, at: Sequence[int]) -> _Point:
        """Upper left corner of a cell, in data coordinates."""
        x0, y0 = self.origins[grid.name]
        offsets = [i - first for i, first in zip(at, grid.firsts, strict=True)]
        return x0 + offsets[-1], y0 + (0 if self.flat else offsets[0])

    def _draw_grid(self, grid: _Grid, height: float, width: float, caption: float) -> None:
        for at, kind in grid.cells():
            corner = self._corner(grid, at)
            self._cell(corner, _FACES[kind], _EDGES[kind], f"{grid.name} {kind}", zorder=1)
            if kind in ("padding", "zero"):
                self._text("0", corner, "#707070", zorder=2)
            if kind == "cropped":
                self._cross(corner)
        x0, y0 = self.origins[grid.name]
        below = self.flat and grid.name == "output"
        y = y0 + height + caption / 2 if below else y0 - caption / 2
        size = " \N{MULTIPLICATION SIGN} ".join(map(str, grid.size))
        width = max(width, _CAPTION_WIDTH)
        center = x0 + len(grid.kinds[-1]) / 2
        _write(self.ax, f"{grid.name} {size}", center, y, 0.45, width)

    def _draw_links(self, cells: Sequence[_Point], window: Sequence[_Tap], chosen: _Point) -> None:
        """Lines from the window to the chosen element, behind the cells."""
        if self.flat:
            from_input = self.scene.view == "gather"
            for (_, at), (x, y) in zip(window, cells, strict=True):
                ends = (y + 1, chosen[1]) if from_input else (y, chosen[1] + 1)
                style = "-" if self.scene.is_read(at) else ":"
                self._line((x + 0.5, chosen[0] + 0.5), ends, style)
            return
        x0, y0, x1, y1 = _bounds(cells)
        facing = (x1, chosen[0]) if x1 < chosen[0] else (x0, chosen[0] + 1)
        for window_y, chosen_y in ((y0, chosen[1]), (y1, chosen[1] + 1)):
            self._line(facing, (window_y, chosen_y), "--")

    def _line(self, xs: Sequence[float], ys: Sequence[float], style: str) -> None:
        self._move(
            self.ax.add_line(Line2D(xs, ys, color="#606060", lw=self.pen, ls=style, zorder=1.5))
        )

    def _outline(self, cells: Sequence[_Point]) -> Artist:
        x0, y0, x1, y1 = _bounds(cells)
        return self.ax.add_patch(
            Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=_INK, lw=2.2 * self.pen, zorder=5)
        )

    def _cell(self, corner: _Point, face: str, edge: str, gid: str, zorder: float = 3) -> Rectangle:
        cell = Rectangle(corner, 1, 1, fc=face, ec=edge, lw=0.8 * self.pen, zorder=zorder)
        cell.set_gid(gid)
        return self.ax.add_patch(cell)

    def _text(self, text: str, corner: _Point, color: str, zorder: float = 4) -> PathPatch:
        x, y = corner
        return _write(self.ax, text, x + 0.5, y + 0.5, 0.32, 0.8, color, zorder)

    def _cross(self, corner: _Point) -> None:
        x, y = corner
        for ys in ((y + 0.3, y + 0.7), (y + 0.7, y + 0.3)):
            line = Line2D((x + 0.3, x + 0.7), ys, color="#909090", lw=0.8 * self.pen, zorder=2)
            self.ax.add_line(line)

    def _legend_entries(self) -> Iterator[tuple[str, str, str]]:
        """(face, mark, text) of what can be seen in this scene."""
        scatter = self.scene.view == "scatter"
        yield _CHOSEN, "", f"chosen {self.scene.element_grid.name}"
        yield _TAP, "", "outputs it adds to" if scatter else "inputs it is summed from"
        kinds = {
            kind for grid in (self.scene.source, self.scene.target) for _, kind in grid.cells()
        }
        zeros = [text for k, text in (("padding", "padding"), ("zero", "between")) if k in kinds]
        if zeros:
            yield _FACES["zero"], "0", f"zeros: {' and '.join(zeros)}"
        if "cropped" in kinds:
            yield _FACES["cropped"], "\N{MULTIPLICATION SIGN}", "cropped"

    def _draw_legend(
        self,
        entries: Sequence[tuple[str, str, str]],
        rows: Sequence[Sequence[int]],
        top: float,
        center: float,
    ) -> None:
        for line, row in enumerate(rows):
            widths = [_label_width(entries[i][2]) for i in row]
            x = center - sum(widths) / 2
            for i, width in zip(row, widths, strict=True):
                face, mark, text = entries[i]
                y = top + line * _LINE_HEIGHT
                swatch = Rectangle((x, y - 0.3), 0.6, 0.6, fc=face, ec=_INK, lw=0.8 * self.pen)
                self.ax.add_patch(swatch)
                if mark:
                    _write(self.ax, mark, x + 0.3, y, 0.25, 0.5, "#707070", 4)
                _write(self.ax, text, x + 0.8, y, _LABEL_HEIGHT, np.inf, align="left")
                x += width


def _pen(ax: Axes) -> float:
    """Width of a plain line in points: 1, and less where cells are small."""
    width, height = ax.figure.get_size_inches() * ax.get_position().size
    cells_wide, cells_high = np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())
    return min(1.0, 72 * min(width / cells_wide, height / cells_high) / 20)


def _bounds(cells: Sequence[_Point]) -> tuple[float, float, float, float]:
    xs, ys = zip(*cells, strict=True)
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def _label_width(text: str) -> float:
    """Cells that a legend entry takes, with its swatch and the space after it."""
    return 1.4 + _text_path(text, _LABEL_HEIGHT).get_extents().width


def _flow(widths: Sequence[float], room: float) -> list[list[int]]:
    """Break entries into rows no wider than `room`."""
    rows: list[list[int]] = []
    used = np.inf
    for i, width in enumerate(widths):
        if used + width > room:
            rows.append([])
            used = 0.0
        rows[-1].append(i)
        used += width
    return rows


@functools.lru_cache(maxsize=1024)
def _text_path(text: str, height: float) -> TextPath:
    """Outline of a text whose digits have the given height."""
    digit = TextPath((0, 0), "0", size=1).get_extents().height
    return TextPath((0, 0), text, size=height / digit)


def _write(
    ax: Axes, text: str, x: float, y: float, height: float, room: float,
    color: str = _INK, zorder: float = 4, align: str = "center",
) -> PathPatch:  # fmt: skip
    """Write in data units, so that text scales with the cells; shrink what is wider than `room`."""
    path = _text_path(text, height)
    box = path.get_extents()
    scale = min(1.0, room / box.width)
    shift = 0.0 if align == "left" else -scale * (box.x0 + box.width / 2)
    place = Affine2D().scale(scale, -scale).translate(x + shift, y + scale * height / 2)
    patch = PathPatch(place.transform_path(path), fc=color, ec="none", zorder=zorder)
    return ax.add_patch(patch)


def _new_figure(box: tuple[float, float, float, float], figsize: Any) -> Figure:
    """Make a figure with the proportions of a box (x0, x1, y0, y1) of cells."""
    if figsize is None:
        width, height = box[1] - box[0], box[3] - box[2]
        inches = min(_INCHES_PER_CELL, _LARGEST_INCHES / max(width, height))
        figsize = (width * inches, height * inches)
    return _NotebookFigure(figsize=figsize, facecolor="white")


class _NotebookFigure(Figure):
    """A figure that a notebook shows even before pyplot has been imported."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", bbox_inches="tight")
        return buffer.getvalue()


# ---- arrays as pictures --------------------------------------------------------------------------


def show_kernels(
    w: ArrayLike,
    *,
    layout: str = "channels_first",
    cmap: str | Colormap = "gray",
    ax: Axes | None = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Show the kernels of a 2-D convolution, all on one scale with zero in its middle.

    Parameters
    ----------
    w : array_like, shape (C_out, C_in/groups, kH, kW) or (kH, kW, C_in/groups, C_out)
        The weight; the picture has a row for each output channel.
    layout : {"channels_first", "channels_last"}
        Order of the weight's axes.
    cmap : str or matplotlib.colors.Colormap
        Colours; the default is grey: black negative, white positive.
    ax, figsize
        As in `draw_conv`.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If `w` has not 4 axes, or is empty.

    Examples
    --------
    >>> import numpy as np
    >>> figure = show_kernels(np.random.default_rng(0).normal(size=(8, 3, 5, 5)))
    """
    w = _real_array("show_kernels", "w", w, 4)
    if _arguments.channels_last("show_kernels", layout):
        w = w.transpose(3, 2, 0, 1)
    limit = _limit(w)
    return _show_sheet(w, ("output channel", "input channel"), (-limit, limit), cmap, ax, figsize)


def show_feature_maps(
    x: ArrayLike,
    *,
    layout: str = "channels_first",
    columns: int | None = None,
    cmap: str | Colormap = "gray",
    ax: Axes | None = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Show the channels of 2-D data, all on one scale.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W), or channels-last
        The data. A batch has a row for each image; the channels of a single image are laid out
        one after the other, row by row.
    layout : {"channels_first", "channels_last"}
        Order of the axes.
    columns : int, optional
        Channels in a row of a single image; by default about as many as there are rows.
    cmap : str or matplotlib.colors.Colormap
        Colours; the default is grey: black lowest, white highest.
    ax, figsize
        As in `draw_conv`.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If `x` has not 3 or 4 axes, or is empty.

    Examples
    --------
    >>> import numpy as np
    >>> figure = show_feature_maps(np.random.default_rng(0).normal(size=(12, 16, 16)))
    """
    name = "show_feature_maps"
    x = _real_array(name, "x", x, 3, 4)
    if _arguments.channels_last(name, layout):
        x = np.moveaxis(x, -1, -3)
    labels, step = ("image", "channel"), 1
    if x.ndim == 3:
        columns = int(np.ceil(np.sqrt(len(x)))) if columns is None else columns
        columns = min(_arguments.integer(name, "columns", columns, 1), len(x))
        missing = -len(x) % columns
        blank = np.full((missing, *x.shape[1:]), np.nan)
        x = np.concatenate([x, blank]).reshape(-1, columns, *x.shape[1:])
        labels, step = ("channel", "channel in the row"), columns
    return _show_sheet(x, labels, (np.nanmin(x), np.nanmax(x)), cmap, ax, figsize, step)


def show_matrix(
    matrix: Any,
    *,
    blocks: tuple[int, int] | None = None,
    cmap: str | Colormap | None = None,
    ax: Axes | None = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Show a convolution matrix: one row for each output, zeros left blank, so its bands appear.

    Parameters
    ----------
    matrix : array_like or scipy.sparse matrix, shape (outputs, inputs)
        As `conv_matrix2d` gives it.
    blocks : pair of int, optional
        Output width and input width: lines are drawn after as many rows and columns, so that each
        block is what one row of the image gives to one row of the output.
    cmap : str or matplotlib.colors.Colormap, optional
        Colours; the default has the same order of brightness in grey.
    ax, figsize
        As in `draw_conv`.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If `matrix` has not 2 axes, or is empty.

    Examples
    --------
    >>> import numpy as np
    >>> figure = show_matrix(np.tril(np.triu(np.ones((6, 8))), 2), blocks=(3, 4))
    """
    dense = matrix.toarray() if hasattr(matrix, "toarray") else matrix
    dense = _real_array("show_matrix", "matrix", dense, 2)
    values = np.where(dense == 0, np.nan, dense)
    if cmap is None:
        cmap = ListedColormap(colormaps["cividis"](np.linspace(0, 0.85, 256)))
    size = _sheet_figsize(dense.shape[1], dense.shape[0], figsize)
    ax = ax if ax is not None else _NotebookFigure(figsize=size, layout="constrained").subplots()
    bounds = (np.nanmin(values), np.nanmax(values)) if np.any(dense) else (0, 1)
    _show_image(ax, values, bounds, cmap)
    ax.set(xlabel="input element", ylabel="output element")
    for axis, inches in zip((ax.xaxis, ax.yaxis), _drawn_inches(ax, dense), strict=True):
        axis.set_major_locator(MaxNLocator(int(np.clip(2 * inches, 1, 8)), integer=True))
    if blocks is not None:
        rows, columns = _arguments.per_axis("show_matrix", "blocks", blocks, 2, 1)
        for edge in range(rows, dense.shape[0], rows):
            ax.axhline(edge - 0.5, color="#909090", lw=0.6)
        for edge in range(columns, dense.shape[1], columns):
            ax.axvline(edge - 0.5, color="#909090", lw=0.6)
    return ax.figure


def show_gradients(
    ours: Mapping[str, ArrayLike],
    theirs: Mapping[str, ArrayLike],
    *,
    names: tuple[str, str] = ("convlab", "autograd"),
    cmap: str | Colormap = "gray",
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Show gradients beside those of another library, and the difference on a scale of its own.

    Parameters
    ----------
    ours, theirs : mapping of str to array_like
        The gradients by name, such as ``{"dx": dx, "dw": dw}``; a row of pictures for each. Axes
        before the last two are laid out as tiles.
    names : pair of str
        What to call the two.
    cmap : str or matplotlib.colors.Colormap
        Colours; the default is grey with zero in the middle.
    figsize : pair of float, optional
        Width and height in inches.

    Returns
    -------
    matplotlib.figure.Figure
        One row for each gradient: ours and theirs on one scale, and ours - theirs.

    Raises
    ------
    ValueError
        If the two have not the same names or shapes, or there is nothing to show.

    Examples
    --------
    >>> import numpy as np
    >>> dw = np.random.default_rng(0).normal(size=(4, 2, 3, 3))
    >>> figure = show_gradients({"dw": dw}, {"dw": dw.astype(np.float32)})
    """
    if ours.keys() != theirs.keys() or not ours:
        raise ValueError(
            f"show_gradients: ours has {list(ours)}, theirs {list(theirs)}; "
            "both must have the same names, one at least"
        )
    figsize = figsize or (9.0, 2.6 * len(ours) + 0.3)
    figure = _NotebookFigure(figsize=figsize, layout="constrained")
    grid = figure.subplots(len(ours), 3, squeeze=False)
    font = min(figsize[0] * 1.1, 10.0)
    for row, name in zip(grid, ours, strict=True):
        a, b = (_any_real("show_gradients", name, g[name]) for g in (ours, theirs))
        if a.shape != b.shape:
            raise ValueError(f"show_gradients: {name} has shapes {a.shape} and {b.shape}")
        difference = a - b
        limit, own = max(_limit(a), _limit(b)), _limit(difference)
        scales = (limit, limit, own)
        titles = (f"{name}, {names[0]}", f"{name}, {names[1]}", f"difference, max {own:.1e}")
        if not np.any(difference):
            titles = (*titles[:2], "no difference")
        for ax, array, scale, title in zip(row, (a, b, difference), scales, titles, strict=True):
            tiles = _as_tiles(array)
            sheet, *pitches = _sheet(tiles)
            _show_image(ax, sheet, (-scale, scale), cmap, font)
            _frame_tiles(ax, tiles, *pitches)
            ax.set_title(title, fontsize=font)
            ax.set(xticks=[], yticks=[])
            ax.set_aspect("auto" if max(sheet.shape) > 8 * min(sheet.shape) else "equal")
    return figure


def _real_array(function: str, name: str, value: ArrayLike, *ranks: int) -> np.ndarray:
    array = _any_real(function, name, value)
    if array.ndim not in ranks:
        wanted = " or ".join(map(str, ranks))
        raise ValueError(
            f"{function}: {name} must have {wanted} axes, but its shape is {array.shape}"
        )
    return array


def _any_real(function: str, name: str, value: ArrayLike) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{function}: {name} must hold real numbers, got dtype {array.dtype}")
    if not array.size:
        raise ValueError(f"{function}: {name} is empty, its shape is {array.shape}")
    return array.astype(np.float64)


def _limit(array: np.ndarray) -> float:
    """Largest finite magnitude, as the end of a scale; 1 where all is zero."""
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max(initial=0)) or 1.0


def _as_tiles(array: np.ndarray) -> np.ndarray:
    """Give an array of any rank the shape (rows, columns, height, width)."""
    if array.ndim <= 2:
        return array.reshape(1, 1, *np.atleast_2d(array).shape)
    rows = array.shape[0] if array.ndim > 3 else 1
    return array.reshape(rows, -1, *array.shape[-2:])


def _sheet(tiles: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Lay tiles (rows, columns, h, w) out in one image with blank gaps; also a tile's pitch."""
    rows, columns, h, w = tiles.shape
    gap = max(1, round(max(h, w) / 12)) if rows * columns > 1 else 0
    padded = np.full((rows, columns, h + gap, w + gap), np.nan)
    padded[:, :, :h, :w] = tiles
    sheet = padded.swapaxes(1, 2).reshape(rows * (h + gap), columns * (w + gap))
    return sheet[: sheet.shape[0] - gap, : sheet.shape[1] - gap], h + gap, w + gap


def _show_sheet(
    tiles: np.ndarray, labels: tuple[str, str], bounds: tuple[float, float],
    cmap: str | Colormap, ax: Axes | None, figsize: Any, row_step: int = 1,
) -> Figure:  # fmt: skip
    """Show tiles (rows, columns, h, w) on one scale; row i is numbered ``i * row_step``."""
    sheet, pitch_y, pitch_x = _sheet(tiles)
    if ax is None:
        size = _sheet_figsize(sheet.shape[1], sheet.shape[0], figsize)
        ax = _NotebookFigure(figsize=size, layout="constrained").subplots()
    _show_image(ax, sheet, bounds, cmap)
    _frame_tiles(ax, tiles, pitch_y, pitch_x)
    h, w = tiles.shape[2:]
    width, height = _drawn_inches(ax, sheet) * 2.5
    _number(ax.xaxis, tiles.shape[1], pitch_x, (w - 1) / 2, 1, width)
    _number(ax.yaxis, tiles.shape[0], pitch_y, (h - 1) / 2, row_step, height)
    ax.set(xlabel=labels[1], ylabel=labels[0])
    return ax.figure


def _frame_tiles(ax: Axes, tiles: np.ndarray, pitch_y: int, pitch_x: int) -> None:
    """Outline each tile that holds something, for white values meet the white page."""
    rows, columns, h, w = tiles.shape
    frames = [
        Rectangle((j * pitch_x - 0.5, i * pitch_y - 0.5), w, h)
        for i, j in np.ndindex(rows, columns)
        if not np.all(np.isnan(tiles[i, j]))
    ]
    tile_points = 72 * np.min(ax.figure.get_size_inches()) / max(rows, columns)
    style = {"facecolor": "none", "edgecolor": _INK, "linewidth": min(0.6, tile_points / 40)}
    ax.add_collection(PatchCollection(frames, clip_on=False, **style))


def _drawn_inches(ax: Axes, image: np.ndarray) -> np.ndarray:
    """Width and height that an image takes, about: the axes may be smaller than their place."""
    room = ax.figure.get_size_inches() * ax.get_position().size
    size = np.array(image.shape[::-1])
    return size * np.min(room / size)


def _number(axis: Any, count: int, pitch: int, middle: float, step: int, most: float) -> None:
    """Write the numbers of tiles along an axis, as many as there is room for."""
    tiles = np.arange(0, count, max(1, int(np.ceil(count / max(most, 1)))))
    axis.set_ticks(tiles * pitch + middle, map(str, tiles * step))
    axis.set_tick_params(length=0)


def _sheet_figsize(width: int, height: int, figsize: Any) -> tuple[float, float]:
    if figsize is not None:
        return figsize
    scale = 5.0 / max(width, height)
    return max(width * scale, 1.6) + 1.4, max(height * scale, 1.6) + 0.7


def _show_image(
    ax: Axes, image: np.ndarray, bounds: tuple[float, float], cmap: Any, font: float | None = None
) -> None:
    """Show an image on a given scale, blank where it is NaN, with the scale beside it."""
    low, high = map(float, bounds)
    if low == high:
        low, high = low - 0.5, high + 0.5
    shown = ax.imshow(image, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    for spine in ax.spines.values():
        spine.set_visible(False)
    size = font or float(np.clip(ax.figure.get_size_inches()[0] * 2, 4, 10))
    ax.tick_params(labelsize=size)
    ax.xaxis.label.set_size(size)
    ax.yaxis.label.set_size(size)
    bar = ax.figure.colorbar(shown, ax=ax, shrink=0.9, ticks=MaxNLocator(3))
    bar.ax.tick_params(labelsize=size)
    bar.ax.yaxis.set_major_formatter("{x:.2g}")
