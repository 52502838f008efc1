"""Any call of any public function: the right answer, or an error that names the argument.

``CONVLAB_HYPOTHESIS=long pytest tests/robustness/test_any_call.py`` searches for much longer.
"""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, seed
from hypothesis import strategies as st
from oracle import SEED
from robustness import strategies as draws
from robustness.strategies import NAMES, Call

import convlab

ERRORS = (ValueError, TypeError, OverflowError, MemoryError)
# What messages call an argument where its own name would say less.
SHOWN = {
    "w": ("weight",),
    "weight_shape": ("weight",),
    "x": ("columns",),
    "output_size": ("spatial size of dy",),
    "kernel_size": ("kernel",),
    "prev_channels": ("number of input channels",),
    "next_channels": ("number of output channels",),
    "in_channels": ("number of input channels",),
    "out_channels": ("number of output channels",),
    "kernel": ("kernel size",),
    "pad": ("padding",),
}

every_function = pytest.mark.parametrize("name", NAMES)


def results_of(call: Call, **changes: Any) -> tuple[np.ndarray, ...]:
    result = call.run(**changes)
    return result if isinstance(result, tuple) else (result,)


def assert_equal(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert np.array_equal(actual, expected)


def assert_names(error: BaseException, function: str, *arguments: str) -> None:
    """Fail unless the message begins with the function and names one of the arguments."""
    message = str(error)
    assert re.match(rf"{function}(\.\w+)?: ", message), message
    shown = [*arguments, *(word for name in arguments for word in SHOWN.get(name, ()))]
    assert any(re.search(rf"\b{re.escape(word)}\b", message) for word in shown), message


# ---- valid calls of the 24 functions -------------------------------------------------------------


@every_function
def test_valid_calls(name):
    """Every shape, parameter, dtype and view gives torch's answer, and no input is written."""

    @seed(SEED)
    @given(draws.calls(name))
    def search(call):
        inputs = {k: v.copy() for k, v in call.arguments.items() if isinstance(v, np.ndarray)}
        for actual, expected in zip(results_of(call), call.expected, strict=True):
            assert_equal(actual, expected)
        for key, before in inputs.items():
            assert np.array_equal(call.arguments[key], before)

    search()


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("_backward")])
def test_out(name):
    """An out of any strides and byte order, or in an input's own memory, gets the same answer."""

    @seed(SEED)
    @given(draws.calls(name), st.sampled_from((*draws.VIEWS, draws.byte_swapped)))
    def search(call, view):
        (expected,) = call.expected
        out = view(np.full(expected.shape, 77, expected.dtype))
        assert call.run(out=out) is out
        assert np.array_equal(out, expected)

    search()


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("_backward")])
def test_out_in_the_memory_of_an_input(name):
    """The answer is that for the input as it was before the call."""

    @seed(SEED)
    @given(draws.calls(name), st.data())
    def search(call, data):
        (expected,) = call.expected
        arrays = [k for k in ("x", "w", "b", "dy") if k in call.arguments]
        key = data.draw(st.sampled_from(arrays))
        shift = data.draw(st.integers(0, 40))
        given_array = call.arguments[key].astype(expected.dtype)
        # With this array of the result's own dtype, the promoted dtype stays what it was.
        memory = np.zeros(shift + expected.size + given_array.size, expected.dtype)
        out = memory[shift : shift + expected.size].reshape(expected.shape)
        shared = memory[: given_array.size].reshape(given_array.shape)
        shared[...] = given_array
        assert call.run(**{key: shared}, out=out) is out
        assert np.array_equal(out, expected)

    search()


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_backward")])
def test_needs(name):
    """Any collection of the three names gives those gradients and no others."""
    wanted = st.lists(st.sampled_from(("input", "weight", "bias")))
    collections = st.sampled_from((list, tuple, set, dict.fromkeys, iter))

    @seed(SEED)
    @given(draws.calls(name), wanted, collections)
    def search(call, names, collect):
        results = call.run(needs=collect(names))
        kinds = ("input", "weight", "bias")
        for kind, actual, expected in zip(kinds, results, call.expected, strict=True):
            if kind in names:
                assert_equal(actual, expected)
            else:
                assert actual is None

    search()


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_shapes_and_explanations(nd, transposed):
    """The shape function and explain tell the shape that the call returns."""

    @seed(SEED)
    @given(draws.cases(nd, transposed), st.sampled_from(("channels_first", "channels_last")))
    def search(case, layout):
        shapes = case.x_shape(layout), case.w_shape(layout)
        function = "conv_transpose_output_shape" if transposed else "conv_output_shape"
        expected = case.y_shape(layout)
        assert getattr(convlab, function)(*shapes, **case.parameters, layout=layout) == expected
        found = convlab.explain(*shapes, **case.parameters, layout=layout, transposed=transposed)
        assert found.ok, found.error
        assert found.output_shape == expected
        assert str(found) and found._repr_markdown_()

    search()


# ---- valid calls of the others -------------------------------------------------------------------


def _windows(case) -> np.ndarray:
    """Tell which element of x, numbered from 1, stands where in the columns; 0 for padding."""
    numbers = np.arange(1, np.prod(case.x_shape(), dtype=int) + 1).reshape(case.x_shape())
    spatial = range(-case.nd, 0)
    for axis, (before, after) in zip(spatial, case.pads, strict=True):
        sides = [(0, 0)] * numbers.ndim
        sides[axis] = (max(before, 0), max(after, 0))
        numbers = np.pad(numbers, sides)
        kept = slice(max(-before, 0), numbers.shape[axis] + min(after, 0))
        numbers = numbers[(..., kept, *(slice(None),) * (-1 - axis))]
    windows = np.lib.stride_tricks.sliding_window_view(numbers, case.reach, tuple(spatial))
    steps = [slice(None, None, step) for step in case.per_axis(case.stride)]
    taps = [slice(None, None, step) for step in case.per_axis(case.dilation)]
    windows = windows[(..., *steps, *taps)]
    batch = case.x_shape()[: -case.nd - 1]
    channel = len(batch)
    order = [*range(channel + 1), *range(windows.ndim - case.nd, windows.ndim)]
    order += range(channel + 1, channel + 1 + case.nd)
    rows = case.ic * int(np.prod(case.kernel))
    return windows.transpose(order).reshape(*batch, rows, int(np.prod(case.out_size)))


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_unfold_and_fold(nd):
    """Columns hold the windows' elements, and folding adds each to where it came from."""

    @seed(SEED)
    @given(draws.cases(nd, False), st.sampled_from(draws.INPUT_VIEWS), st.integers(0, 2**32))
    def search(case, view, number):
        parameters = {key: getattr(case, key) for key in ("stride", "padding", "dilation")}
        x = view(draws.integers(case.x_shape(), "f4", number))
        places = _windows(case)
        columns = convlab.unfold(x, case.kernel, **parameters)
        assert_equal(columns, np.concatenate(([0], x.ravel()))[places].astype("f4"))

        given_columns = view(draws.integers(places.shape, "f8", number))
        sums = np.bincount(places.ravel(), given_columns.ravel(), minlength=x.size + 1)[1:]
        folded = convlab.fold(given_columns, case.size, case.kernel, **parameters)
        assert_equal(folded, sums.reshape(x.shape).astype("f8"))

    search()


@pytest.mark.parametrize("sparse", [False, True])
def test_conv_matrix(sparse):
    """The matrix of a drawn convolution, times x, is the convolution."""
    pytest.importorskip("scipy")

    @seed(SEED)
    @given(draws.cases(2, False).filter(lambda case: np.prod(case.y_shape()) < 2000))
    def search(case):
        x, w = (
            draws.integers(shape, "f8", len(shape)) for shape in (case.x_shape(), case.w_shape())
        )
        matrix = convlab.conv_matrix2d(w, x.shape, sparse=sparse, **case.parameters)
        y = convlab.conv2d(x, w, **case.parameters)
        assert np.array_equal(matrix @ x.ravel(), y.ravel())

    search()


# ---- one argument spoiled ------------------------------------------------------------------------


def _bad_steps(nd: int) -> list[Any]:
    bad = [*draws.NOT_INTS, *draws.TOO_LARGE, *draws.NOT_POSITIVE]
    return [None, *bad, *draws.wrong_lengths(nd), *draws.among((1,) * nd, bad)]


def _bad_padding(nd: int) -> list[Any]:
    bad = [*(v for v in draws.NOT_INTS if v != "1"), *draws.TOO_LARGE]
    pairs = [(value, 1) for value in bad] + [(1,), (1, 1, 1), (), (1, (1, 1)), "ab"]
    return [
        *bad,
        None,
        "full",
        "SAME",
        "",
        *draws.wrong_lengths(nd),
        *draws.among((1,) * nd, bad),
        *draws.among(((1, 1),) * nd, pairs),
        *draws.wrong_lengths(nd, (1, 1)),
    ]


def _bad_arrays(call: Call, key: str) -> list[Any]:
    a, nd = call.arguments[key], call.case.nd
    ranks = {"b": (1,), "w": (nd + 2,)}.get(key, (nd + 1, nd + 2))
    wrong = [draws.of_rank(rank) for rank in range(7) if rank not in ranks]
    missing = [] if key == "b" else [None]
    return [
        *missing,
        *draws.NOT_ARRAYS,
        *(draws.recast(a, dtype) for dtype in draws.NOT_NUMBERS),
        *wrong,
    ]


def _grown(a: np.ndarray, axis: int) -> np.ndarray:
    """Return zeros of the array's shape, one longer on an axis."""
    shape = list(a.shape)
    shape[axis] += 1
    return np.zeros(shape, a.dtype)


def _misfits(call: Call) -> list[tuple[str, Any]]:
    """Arrays of sizes that contradict those of the others."""
    arguments, case = call.arguments, call.case
    found = []
    if case.n is not None and {"x", "dy"} <= arguments.keys():
        found += [("x", _grown(arguments["x"], 0)), ("dy", _grown(arguments["dy"], 0))]
    if {"x", "w"} <= arguments.keys():
        last = arguments["layout"] == "channels_last"
        channels = -1 if last else -1 - case.nd
        found.append(("x", _grown(arguments["x"], channels)))
        into = (-2 if last else 0) if case.transposed else (-2 if last else 1)
        found.append(("w", _grown(arguments["w"], into)))
    if "b" in arguments:
        found.append(("b", _grown(arguments["b"], 0)))
    if "dy" in arguments and "w" in arguments and not case.transposed:
        dy = arguments["dy"]
        found += [("dy", _grown(dy, axis)) for axis in range(dy.ndim)]
    return found


def _bad_out(call: Call) -> list[Any]:
    (expected,) = call.expected
    other = "f8" if expected.dtype != "f8" else "f4"
    retyped = draws.recast(expected, other)
    bad = [expected.tolist(), "out", 1, retyped, draws.read_only(expected)]
    bad.append(expected[None])
    bad += [_grown(expected, axis) for axis in range(expected.ndim)]
    if expected.size > 1:
        one = np.zeros(1, expected.dtype)
        bad.append(np.lib.stride_tricks.as_strided(one, expected.shape, (0,) * expected.ndim))
    return bad


def _bad_needs() -> list[Any]:
    return [None, "input", "bias", 1, b"input", (1,), ("x",), ("input", None), [["input"]]]


def _bad_sizes(nd: int, least: int) -> list[Any]:
    bad = [*draws.NOT_INTS, 2**63, 2**70, -(2**70), least - 1, -1]
    return [*bad, *draws.wrong_lengths(nd), *draws.among((1,) * nd, bad)]


def _bad_ranked_sizes(least: int) -> list[Any]:
    """Where the number of values tells the number of axes, 1 to 3 of them are right."""
    rank_is_right = {1, 3}
    return [
        value
        for value in _bad_sizes(2, least)
        if not (
            isinstance(value, list | tuple | np.ndarray)
            and getattr(value, "ndim", 1)
            and len(value) in rank_is_right
        )
    ]


def _bad_shape(correct: tuple[int, ...]) -> list[Any]:
    bad = [*draws.NOT_INTS, 2**63, 2**70, -1]
    return [None, 1, "abc", (), (1,) * 7, draws.RaisingLength(correct), *draws.among(correct, bad)]


def _bad_layouts() -> list[Any]:
    return [None, 1, "", "NCHW", b"channels_first", "CHANNELS_FIRST", ["channels_first"], object()]


def _spoiled(call: Call) -> dict[str, list[Any]]:
    """List, for each argument of a call, values that it cannot take."""
    nd, arguments = call.case.nd, call.arguments
    found = {
        "stride": _bad_steps(nd),
        "dilation": _bad_steps(nd),
        "padding": _bad_padding(nd),
        "groups": [None, *draws.NOT_INTS, *draws.TOO_LARGE, *draws.NOT_POSITIVE, (1,), [1]],
        "layout": _bad_layouts(),
    }
    found |= {key: _bad_arrays(call, key) for key in ("x", "w", "b", "dy") if key in arguments}
    for key, value in _misfits(call):
        found[key].append(value)
    if call.takes_out:
        found["out"] = _bad_out(call)
    else:
        found["needs"] = _bad_needs()
    if "input_shape" in arguments:
        found["input_shape"] = _bad_shape(tuple(arguments["input_shape"]))
    if "kernel_size" in arguments:
        found["kernel_size"] = [None, *_bad_sizes(nd, 1)]
    if call.case.transposed:
        extra = [*draws.NOT_INTS, 2**31, 2**70, -1, -(2**31)]
        steps = map(call.case.per_axis, (call.case.stride, call.case.dilation))
        most = tuple(max(pair) for pair in zip(*steps, strict=True))
        found["output_padding"] = [*extra, *draws.wrong_lengths(nd), most]
        found["output_size"] = _bad_sizes(nd, 0)
    return found


@every_function
def test_one_bad_argument(name):
    """Whichever argument is bad, the error is of a few kinds and names it."""

    @seed(SEED)
    @given(draws.calls(name), st.data())
    def search(call, data):
        spoiled = _spoiled(call)
        for key in spoiled:
            value = data.draw(st.sampled_from(spoiled[key]), key)
            changes = {key: value}
            if key == "output_size":
                changes["output_padding"] = 0
            with pytest.raises(ERRORS) as caught:
                call.run(**changes)
            arrays = [k for k in ("x", "w", "b", "dy") if k in call.arguments]
            shapes = isinstance(value, np.ndarray) and key in arrays
            assert_names(caught.value, name, *(arrays if shapes else [key]))

    search()


@every_function
def test_arguments_of_nobody(name):
    """A keyword that the function does not have is a TypeError that names it."""
    with pytest.raises(TypeError, match="strides"):
        getattr(convlab, name)(strides=1)


X, COLUMNS = np.ones((2, 3, 5, 6)), np.ones((2, 12, 20))
WEIGHT, IMAGE = (4, 3, 2, 2), (2, 3, 5, 6)
_steps = {"stride": _bad_steps(2), "padding": _bad_padding(2), "dilation": _bad_steps(2)}
_groups = [*draws.NOT_INTS, *draws.TOO_LARGE, *draws.NOT_POSITIVE, 2]
_not_arrays = [None, *draws.NOT_ARRAYS, *(draws.recast(X, dtype) for dtype in draws.NOT_NUMBERS)]
_shapes = {
    "input_shape": _bad_shape(IMAGE),
    "weight_shape": [*_bad_shape(WEIGHT), (4, 3), (4, 3, 0, 2), (4, 2, 2, 2)],
    "groups": _groups,
    "layout": _bad_layouts(),
}
_of_layers = {
    "kernel size": [None, *draws.NOT_INTS, *draws.TOO_LARGE[3:], *draws.NOT_POSITIVE, (3, 3)],
}
# Function, valid arguments, and values that each cannot take.
OTHERS = {
    "unfold": (
        {"x": X, "kernel_size": 2},
        _steps
        | {
            "x": [*_not_arrays, *(draws.of_rank(rank) for rank in (0, 1, 2, 5, 6))],
            "kernel_size": [*_bad_ranked_sizes(1), (6, 1)],
        },
    ),
    "fold": (
        {"columns": COLUMNS, "output_size": (5, 6), "kernel_size": 2},
        _steps
        | {
            "columns": [*_not_arrays, COLUMNS[:, 1:], COLUMNS[..., 1:], COLUMNS[0, 0]],
            "kernel_size": [*_bad_ranked_sizes(1), (6, 1)],
            "output_size": _bad_ranked_sizes(0),
        },
    ),
    "conv_matrix2d": (
        {"w": np.ones(WEIGHT), "input_shape": IMAGE},
        _steps
        | {
            "w": [*_not_arrays, *(draws.of_rank(rank) for rank in (0, 1, 2, 3, 5, 6))],
            "input_shape": _bad_shape(IMAGE),
            "groups": _groups,
            "sparse": [None, 1, "yes", [], np.array([True, False])],
        },
    ),
    "conv_output_shape": ({"input_shape": IMAGE, "weight_shape": WEIGHT}, _steps | _shapes),
    "conv_transpose_output_shape": (
        {"input_shape": (2, 4, 5, 6), "weight_shape": WEIGHT},
        _steps
        | _shapes
        | {
            "weight_shape": [*_bad_shape(WEIGHT), (4, 3), (4, 3, 0, 2), (3, 2, 2, 2)],
            "groups": [*_groups[:-1], 3],
            "output_padding": [*draws.NOT_INTS, 2**31, 2**70, -1, 1, (0, 1, 0)],
            "output_size": [*_bad_sizes(2, 0), 9],
        },
    ),
    "set_num_threads": (
        {"n": 1},
        {"n": [None, *draws.NOT_INTS, *draws.TOO_LARGE, *draws.NOT_POSITIVE, (1,), [1]]},
    ),
    "num_threads": (
        {"n": 1},
        {"n": [None, *draws.NOT_INTS, *draws.TOO_LARGE, *draws.NOT_POSITIVE, (1,), [1]]},
    ),
}


@pytest.mark.parametrize(
    ("function", "key"), [(f, key) for f, (_, spoiled) in OTHERS.items() for key in spoiled]
)
def test_bad_arguments_of_the_others(function, key):
    """The same for every function that is none of the 24, every bad value of each argument."""
    valid, spoiled = OTHERS[function]
    for value in spoiled[key]:
        with pytest.raises(ERRORS) as caught:
            result = getattr(convlab, function)(**valid | {key: value})
            if function == "num_threads":
                result.__enter__()
        assert_names(caught.value, function, key)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    "key",
    ["input_shape", "weight_shape", "stride", "padding", "dilation", "groups", "layout"],
)
def test_explain_tells_what_is_bad(key, transposed):
    """Explaining a call that fails raises nothing: it says what the call itself would say."""
    valid, spoiled = OTHERS["conv_transpose_output_shape" if transposed else "conv_output_shape"]
    for value in spoiled[key]:
        found = convlab.explain(**valid | {key: value}, transposed=transposed)
        assert not found.ok
        stem = "conv_transpose" if transposed else "conv"
        assert re.match(rf"{stem}(\dd)?: ", found.error), found.error
        assert str(found) and found._repr_markdown_()


@pytest.mark.parametrize("key", ["output", "output_padding", "output_size", "transposed"])
def test_bad_arguments_of_explain(key):
    """Arguments that are explain's own are errors that name them."""
    bad = [*draws.NOT_INTS, *draws.TOO_LARGE, (0,) * 3, (), [9, 9], np.array([9, 9])]
    not_flags = [value for value in bad if not isinstance(value, bool | np.bool_)]
    for value in not_flags if key == "transposed" else bad:
        with pytest.raises(ERRORS) as caught:
            convlab.explain(IMAGE, WEIGHT, **{key: value})
        assert_names(caught.value, "explain", key)


# ---- layers --------------------------------------------------------------------------------------

LAYERS = {
    "Conv2D": ("prev_channels", "next_channels", "kernel", "stride", "pad"),
    "Conv2DTranspose": ("in_channels", "out_channels", "kernel_size", "stride", "padding"),
    "Conv2DTransposeV2": (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "output_padding",
    ),
}


@pytest.mark.parametrize(("name", "key"), [(n, key) for n, keys in LAYERS.items() for key in keys])
def test_bad_arguments_of_layers(name, key):
    """A layer says what is wrong with it when it is made, or at the latest when it is used."""
    ones = [None, *draws.NOT_INTS, *draws.NOT_POSITIVE, 2**62, 2**63, 2**70, -(2**70)]
    bad = {
        "stride": _bad_steps(2),
        "pad": _bad_padding(2),
        "padding": _bad_padding(2),
        "output_padding": [*draws.NOT_INTS, 2**31, 2**70, -1, (0, 0, 0)],
    }.get(key, ones)
    channels = dict.fromkeys(LAYERS[name][:2], 1)
    for value in bad:
        with pytest.raises(ERRORS) as caught:
            getattr(convlab, name)(**channels | {key: value}).forward(np.ones((1, 5, 5, 1)))
        words = (key, *SHOWN.get(key, ()), "the kernel size") if "kernel" in key else (key,)
        message = str(caught.value)
        assert re.match(rf"({name}|conv2d|conv_transpose2d)(\.\w+)?: ", message), message
        assert any(word in message for word in (*words, *SHOWN.get(key, ()))), message


@pytest.mark.parametrize("name", LAYERS)
def test_bad_data_of_layers(name):
    """Arrays that a layer cannot take are errors that name its argument, and leave it usable."""
    layer = getattr(convlab, name)(1, 1, 3, rng=1)
    x = np.ones((1, 5, 5, 1))
    z = layer.forward(x)
    wrong = [*draws.NOT_ARRAYS, None, *(draws.recast(x, dtype) for dtype in draws.NOT_NUMBERS)]
    for value in [*wrong, x[..., [0, 0]], x[0]]:
        with pytest.raises(ERRORS, match=r"A_prev|\bx\b"):
            layer.forward(value)
        with pytest.raises(ERRORS, match="dZ"):
            layer.backward(value)
        with pytest.raises(ERRORS, match="kernel"):
            layer.kernel = value
        with pytest.raises(ERRORS, match=r"\bb\b"):
            layer.b = value
    assert np.array_equal(layer.forward(x), z)
    assert layer.backward(z)[0].shape == x.shape
