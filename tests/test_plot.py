"""What is drawn is what is computed: cells, values and scales are read back from the artists."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

import convlab

matplotlib = pytest.importorskip("matplotlib")
plot = pytest.importorskip("convlab.plot")

from matplotlib.figure import Figure  # noqa: E402
from matplotlib.patches import PathPatch, Rectangle  # noqa: E402
from PIL import Image  # noqa: E402

CASES = [
    ((5, 5), (3, 3), {"stride": 2, "padding": 1}),
    ((6, 7), (3, 2), {"dilation": 2, "padding": ((1, 0), (0, 2))}),
    ((5, 4), (2, 3), {"padding": "same", "stride": (2, 1)}),
    ((6, 6), (3, 3), {"padding": -1}),
    ((8,), (3,), {"stride": 2, "padding": 1}),
    ((3, 3), (3, 3), {"stride": 2, "padding": 1, "output_padding": 1, "transposed": True}),
    ((3, 2), (2, 2), {"stride": 3, "padding": 1, "transposed": True}),
    ((4,), (3,), {"stride": 2, "dilation": 2, "transposed": True}),
    ((3,), (2,), {"padding": 2, "stride": 2, "transposed": True}),
]
TRANSPOSED = [case for case in CASES if case[2].get("transposed")]


def split(options):
    """Name of the operation, and the options that it takes itself."""
    options = dict(options)
    return ("conv_transpose" if options.pop("transposed", False) else "conv"), options


def marked(figure: Figure, prefix: str) -> set[tuple[int, ...]]:
    """Coordinates of the cells whose gid is the prefix followed by them."""
    gids = [patch.get_gid() or "" for patch in figure.axes[0].patches]
    found = [gid.removeprefix(f"{prefix} ") for gid in gids if gid.startswith(f"{prefix} ")]
    cells = {tuple(map(int, gid.split(","))) for gid in found}
    assert len(cells) == len(found)
    return cells


def some_elements(size):
    """Every element of a row; a fifth of those of a plane, spread over all rows and columns."""
    return [at for at in np.ndindex(size) if len(size) == 1 or (at[0] + 2 * at[-1]) % 5 == 0]


def one_hot(shape, at):
    array = np.zeros(shape)
    array[at] = 1
    return array


@pytest.mark.parametrize(("size", "kernel", "options"), CASES)
def test_highlighted_inputs_are_those_that_feed_the_output(size, kernel, options):
    """The dark cells of an output are the inputs with a gradient when that output is one-hot."""
    name, own = split(options)
    nd = len(size)
    w = np.ones((1, 1, *kernel))
    y_shape = getattr(convlab, f"{name}{nd}d")(np.ones((1, 1, *size)), w, **own).shape
    grad_input = getattr(convlab, f"{name}{nd}d_grad_input")
    step = own.get("stride", 1) if name == "conv_transpose" else 1
    for at in some_elements(y_shape[2:]):
        dy = one_hot(y_shape, (0, 0, *at))
        shape = [(1, 1, *size)] if name == "conv" else []
        dx = grad_input(dy, w, *shape, **own)
        fed_by = {tuple(map(int, i * step)) for i in np.argwhere(dx[0, 0])}
        figure = plot.draw_conv(size, kernel, at=at, **options)
        assert marked(figure, "tap") == fed_by
        assert len(marked(figure, "zero tap")) == np.prod(kernel) - len(fed_by)
        assert marked(figure, "element") == {at}


@pytest.mark.parametrize(("size", "kernel", "options"), TRANSPOSED)
def test_scatter_highlights_the_outputs_an_input_adds_to(size, kernel, options):
    """The dark cells of an input are the outputs that a one-hot input reaches."""
    name, own = split(options)
    conv = getattr(convlab, f"{name}{len(size)}d")
    for at in some_elements(size):
        y = conv(one_hot((1, 1, *size), (0, 0, *at)), np.ones((1, 1, *kernel)), **own)
        figure = plot.draw_conv(size, kernel, at=at, view="scatter", **options)
        reached = {tuple(map(int, o)) for o in np.argwhere(y[0, 0])}
        assert marked(figure, "tap") == reached
        assert marked(figure, "element") == {at}


@pytest.mark.parametrize(("size", "kernel", "options"), CASES)
def test_grids_have_every_cell(size, kernel, options):
    """As many plain cells as the input (less what is cropped) and the output have elements."""
    name, own = split(options)
    shapes = ((1, 1, *size), (1, 1, *kernel))
    shape_of = getattr(convlab, f"{name}_output_shape")
    figure = plot.draw_conv(size, kernel, **options)
    gids = [patch.get_gid() for patch in figure.axes[0].patches]
    assert gids.count("output data") == np.prod(shape_of(*shapes, **own))
    negative = own.get("padding") == -1 or (name == "conv_transpose" and "input cropped" in gids)
    if not negative:
        assert gids.count("input data") == np.prod(size)


@pytest.mark.parametrize("figsize", [None, (2.0, 1.5), (12, 9)])
@pytest.mark.parametrize(("size", "kernel", "options"), CASES)
def test_text_neither_overlaps_nor_leaves_the_picture(size, kernel, options, figsize):
    """At every size no two texts overlap, and all of the picture lies inside the figure."""
    figure = plot.draw_conv(size, kernel, figsize=figsize, **options)
    figure.canvas.draw()
    ax = figure.axes[0]
    texts = [p for p in ax.patches if isinstance(p, PathPatch)]
    boxes = [t.get_window_extent() for t in texts]
    on_top = {(round(b.x0), round(b.y0), round(b.x1), round(b.y1)) for b in boxes}
    assert len(on_top) > 3
    taps = [c for c in ax.patches if isinstance(c, Rectangle) and "tap" in (c.get_gid() or "")]
    covered = [c.get_window_extent() for c in taps]
    plain = [
        box
        for text, box in zip(texts, boxes, strict=True)
        if text.get_zorder() > 2 or not any(c.contains(*box.min) for c in covered)
    ]
    for i, box in enumerate(plain):
        assert not any(box.overlaps(other) for other in plain[i + 1 :])
    frame = figure.bbox.padded(0.5)
    for patch in ax.patches:
        corner = patch.get_window_extent()
        assert frame.contains(*corner.min)
        assert frame.contains(*corner.max)


def test_shades_are_told_apart_in_grey():
    """Chosen, read and empty cells differ by at least an eighth of the grey scale."""
    figure = plot.draw_conv(5, 3, padding=1)
    faces = {}
    for patch in figure.axes[0].patches:
        kind = (patch.get_gid() or "").rstrip("0123456789,- ")
        faces[kind] = float(np.dot(patch.get_facecolor()[:3], (0.299, 0.587, 0.114)))
    kinds = ("element", "tap", "zero tap", "input data")
    shades = [faces[kind] for kind in kinds]
    assert np.all(np.diff(shades) > 1 / 8), dict(zip(kinds, shades, strict=True))


def test_draws_where_it_is_told():
    """An Axes that is given is drawn in and its figure returned."""
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plot.draw_conv(4, 3, ax=left) is figure
    assert left.patches
    assert not right.patches
    assert plot.show_kernels(np.ones((1, 1, 2, 2)), ax=right) is figure
    assert right.images


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot.draw_conv((2, 2), 3), "draw_conv: the kernel of size"),
        (lambda: plot.draw_conv((4, 4, 4), 3), "1 or 2 axes"),
        (lambda: plot.draw_conv(4, 3, at=(2, 0)), "no element of an output of size"),
        (lambda: plot.draw_conv(4, 3, view="scatter"), "transposed=True"),
        (lambda: plot.show_kernels(np.ones((2, 2))), "show_kernels: w must have 4 axes"),
        (lambda: plot.show_matrix(np.ones((2, 0))), "show_matrix: matrix is empty"),
        (lambda: plot.show_gradients({"dx": [1.0]}, {"dw": [1.0]}), "the same names"),
        (lambda: plot.show_gradients({"dx": [1.0]}, {"dx": [1.0, 2.0]}), "dx has shapes"),
    ],
)
def test_errors_name_the_argument(call, message):
    """What cannot be drawn is refused in the user's terms."""
    with pytest.raises(ValueError, match=message):
        call()


# ---- animation -----------------------------------------------------------------------------------


def test_animation_has_a_frame_for_every_element(tmp_path):
    """The GIF has one frame per output, and they differ."""
    animation = plot.animate_conv((4, 3), (3, 2), figsize=(3, 2), interval=200)
    path = tmp_path / "window.gif"
    animation.save(path, dpi=40)
    with Image.open(path) as gif:
        assert gif.n_frames == 2 * 2
        frames = []
        for i in range(gif.n_frames):
            gif.seek(i)
            assert gif.info["duration"] == 200
            frames.append(np.asarray(gif.convert("L")))
    assert all(np.any(a != b) for a, b in itertools.pairwise(frames))


def test_animation_ends_as_the_picture_of_the_last_output(tmp_path):
    """A frame is draw_conv's picture: nothing of earlier frames is left behind."""
    animation = plot.animate_conv(4, 3, padding=1, figsize=(3, 2))
    animation.save(tmp_path / "window.gif", dpi=40)
    still = plot.draw_conv(4, 3, padding=1, at=(3, 3), figsize=(3, 2))
    figure = animation._fig
    for prefix in ("tap", "zero tap", "element"):
        assert marked(figure, prefix) == marked(still, prefix)


def test_notebook_plays_the_animation_and_shows_the_figure():
    """IPython finds HTML for the animation and a PNG for a figure, without pyplot."""
    html = plot.animate_conv((3,), 2, figsize=(2, 2))._repr_html_()
    assert html.count("data:image/png;base64") == 2
    assert plot.draw_conv(3, 2)._repr_png_().startswith(b"\x89PNG")


# ---- arrays --------------------------------------------------------------------------------------


def shown(figure: Figure, i: int = 0) -> np.ndarray:
    """Values of the i-th image of a figure, blanks as NaN."""
    images = [image for ax in figure.axes for image in ax.images if ax.get_label() != "<colorbar>"]
    return np.ma.filled(np.ma.asarray(images[i].get_array(), float), np.nan)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_kernels_are_shown_as_they_are(layout):
    """Row o, column i of the picture is the kernel from input i to output o; zero is mid-scale."""
    w = np.random.default_rng(0).normal(size=(4, 3, 5, 2))
    given = w if layout == "channels_first" else w.transpose(2, 3, 1, 0)
    figure = plot.show_kernels(given, layout=layout)
    picture = shown(figure)
    for o in range(4):
        for i in range(3):
            assert np.array_equal(picture[o * 6 : o * 6 + 5, i * 3 : i * 3 + 2], w[o, i])
    assert np.all(np.isnan(picture[5::6]))
    assert figure.axes[0].images[0].get_clim() == (-abs(w).max(), abs(w).max())


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_feature_maps_are_shown_as_they_are(layout):
    """Channels of one image follow row by row; what is left of the last row stays blank."""
    x = np.random.default_rng(1).normal(size=(5, 4, 6))
    given = x if layout == "channels_first" else x.transpose(1, 2, 0)
    figure = plot.show_feature_maps(given, layout=layout, columns=3)
    picture = shown(figure)
    for c in range(5):
        row, column = divmod(c, 3)
        assert np.array_equal(picture[row * 5 : row * 5 + 4, column * 7 : column * 7 + 6], x[c])
    assert np.all(np.isnan(picture[5:, 14:]))
    assert figure.axes[0].images[0].get_clim() == (x.min(), x.max())
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["0", "3"]


@pytest.mark.parametrize("sparse", [False, True])
def test_matrix_is_shown_with_zeros_blank(sparse):
    """The picture holds the convolution matrix, blank where it is zero, lines between blocks."""
    if sparse:
        pytest.importorskip("scipy")
    w = np.arange(1.0, 7).reshape(1, 1, 2, 3)
    matrix = convlab.conv_matrix2d(w, (1, 1, 4, 5), sparse=sparse)
    dense = convlab.conv_matrix2d(w, (1, 1, 4, 5))
    figure = plot.show_matrix(matrix, blocks=(3, 5))
    picture = shown(figure)
    assert np.array_equal(np.nan_to_num(picture), dense)
    assert np.array_equal(np.isnan(picture), dense == 0)
    lines = [(set(line.get_xdata()), set(line.get_ydata())) for line in figure.axes[0].lines]
    assert [ys for _, ys in lines[:2]] == [{2.5}, {5.5}]
    assert [xs for xs, _ in lines[2:]] == [{4.5}, {9.5}, {14.5}]


def test_gradients_and_difference():
    """The first two pictures share a scale; the third is ours - theirs on a scale of its own."""
    rng = np.random.default_rng(2)
    ours = {"dw": rng.normal(size=(3, 2, 2, 2)), "db": rng.normal(size=3)}
    theirs = {"dw": ours["dw"] + 1e-9 * rng.normal(size=(3, 2, 2, 2)), "db": ours["db"]}
    figure = plot.show_gradients(ours, theirs)
    axes = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    assert axes[0].images[0].get_clim() == axes[1].images[0].get_clim()
    difference = ours["dw"] - theirs["dw"]
    assert axes[2].images[0].get_clim() == (-abs(difference).max(), abs(difference).max())
    picture = shown(figure, 2)
    assert np.array_equal(picture[:2, :2], difference[0, 0])
    assert np.array_equal(picture[6:8, 3:5], difference[2, 1])
    assert np.array_equal(shown(figure, 3), ours["db"][None, :])
    assert f"{abs(difference).max():.1e}" in axes[2].get_title()
    assert axes[5].get_title() == "no difference"


@pytest.mark.parametrize("figsize", [(2.6, 2.4), (9, 8)])
def test_titles_do_not_overlap(figsize):
    """Titles and scales of neighbouring gradient pictures stay apart at small and large sizes."""
    dw = np.random.default_rng(3).normal(size=(4, 3, 3, 3))
    figure = plot.show_gradients({"dw": dw, "dx": dw}, {"dw": dw * (1 + 1e-9), "dx": dw + 1e-9},
                                 figsize=figsize)  # fmt: skip
    figure.canvas.draw()
    boxes = [ax.title.get_window_extent() for ax in figure.axes if ax.get_title()]
    boxes += [
        label.get_window_extent()
        for ax in figure.axes
        for label in ax.get_yticklabels()
        if label.get_text() and ax.get_ylim()[0] <= label.get_position()[1] <= ax.get_ylim()[1]
    ]
    assert len(boxes) > 12
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


# ---- manners -------------------------------------------------------------------------------------


def test_leaves_matplotlib_alone():
    """Drawing changes no setting and registers no figure with pyplot."""
    before = dict(matplotlib.rcParams)
    plot.draw_conv(4, 3)
    plot.show_kernels(np.ones((2, 2, 3, 3)))
    plot.show_gradients({"dx": [1.0, 2.0]}, {"dx": [1.0, 2.0]})
    assert dict(matplotlib.rcParams) == before
    from matplotlib import pyplot

    assert pyplot.get_fignums() == []


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_importing_convlab_does_not_import_matplotlib():
    """Who only computes needs no matplotlib, and does not wait for it."""
    code = "import sys, json, convlab; print(json.dumps('matplotlib' in sys.modules))"
    assert json.loads(run(code)) is False


def test_without_matplotlib_the_error_says_what_to_install():
    """A missing matplotlib is an ImportError that names the extra."""
    code = """
import sys
sys.modules["matplotlib"] = None
try:
    import convlab.plot
except ImportError as error:
    print(error)
"""
    assert "convlab[plot]" in run(code)


def test_an_empty_output_is_not_drawn():
    """Where padding crops the whole output away there is no picture, and the error says so."""
    with pytest.raises(ValueError, match="the output is empty"):
        plot.draw_conv(1, 2, padding=1, transposed=True)


def test_feature_maps_of_nothing_are_refused():
    """An array without elements has no scale: the error names it and its shape."""
    with pytest.raises(ValueError, match=r"x is empty, its shape is \(0, 4, 4\)"):
        plot.show_feature_maps(np.zeros((0, 4, 4)))


def test_a_sheet_has_the_size_asked_for():
    """`figsize` is the figure's, in inches, whatever the matrix."""
    figure = plot.show_matrix(np.eye(3), figsize=(2, 5), cmap="gray")
    assert tuple(figure.get_size_inches()) == (2, 5)
