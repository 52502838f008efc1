"""Arrays in and out: dtypes, views, ``out``, overlap, empty axes, no batch axis."""

import numpy as np
import pytest
import torch
from calls import COMPLEX_CALLS, CONV_CALLS, STEMS, Call, integers

import convlab

CALLS_2D = [call for call in CONV_CALLS if "2d" in call.name]
OUT_CALLS = [call for call in CALLS_2D if call.takes_out()]
every_call = pytest.mark.parametrize("call", CONV_CALLS, ids=str)
every_2d_call = pytest.mark.parametrize("call", CALLS_2D, ids=str)
every_out_call = pytest.mark.parametrize("call", OUT_CALLS, ids=str)


def assert_results(results: tuple[np.ndarray, ...], call: Call, dtype: str) -> None:
    for result, expected in zip(results, call.expected, strict=True):
        assert type(result) is np.ndarray
        assert result.dtype == np.dtype(dtype)
        assert np.array_equal(result, expected)


# ---- dtypes --------------------------------------------------------------------------------------


@every_call
def test_agrees_with_torch(call):
    """Every public function, every rank, gives torch's answer."""
    assert_results(call.results(), call, "float64")


@every_2d_call
@pytest.mark.parametrize(
    ("given", "returned"),
    [
        ("float16", "float16"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("int8", "float64"),
        ("int64", "float64"),
        ("complex64", "complex64"),
        ("complex128", "complex128"),
        (">f4", "float32"),
        (">f8", "float64"),
        (">i2", "float64"),
        (">c8", "complex64"),
    ],
)
def test_result_dtype(call, given, returned):
    """Each supported dtype is computed exactly and returned in the documented one."""
    assert_results(call.converted(lambda a: a.astype(given)), call, returned)


@pytest.mark.parametrize("given", ["bool", "uint8", "uint64"])
def test_unsigned_and_bool(given):
    """Arrays that hold no negative numbers are computed in float64 too, without wrapping round."""
    x = np.ones((1, 3, 4, 4), given)
    y = convlab.conv2d(x, x[:, :, :2, :2])
    assert y.dtype == np.float64
    assert np.array_equal(y, np.full((1, 1, 3, 3), 12.0))


@pytest.mark.parametrize("call", COMPLEX_CALLS, ids=str)
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_agrees_with_torch(call, dtype):
    """Complex results and gradients follow torch, conjugates included."""
    assert_results(call.converted(lambda a: a.astype(dtype)), call, dtype)


@pytest.mark.parametrize(
    ("x", "w", "b", "y"),
    [
        ("float32", "float64", None, "float64"),
        ("float32", "int8", None, "float32"),
        ("float32", "int64", None, "float64"),
        ("int8", "uint8", "bool", "float64"),
        ("float16", "float32", None, "float32"),
        ("float32", "float32", "float64", "float64"),
        ("float64", "complex64", None, "complex128"),
        ("float32", "float32", "complex64", "complex64"),
    ],
)
def test_mixed_dtypes_are_promoted(x, w, b, y):
    """The result has NumPy's promotion of all arguments' dtypes; integers alone give float64."""
    bias = None if b is None else np.ones(1, b)
    result = convlab.conv2d(np.ones((1, 1, 3, 3), x), np.ones((1, 1, 2, 2), w), bias)
    assert result.dtype == np.dtype(y)
    assert np.array_equal(result, np.full((1, 1, 2, 2), 4.0 if b is None else 5.0))


@every_2d_call
@pytest.mark.parametrize("dtype", ["longdouble", "object", "U3", "datetime64[s]", "V4"])
def test_other_dtypes_are_refused(call, dtype):
    """An unsupported dtype is a TypeError that names argument and dtype."""
    for name in call.arrays:
        wrong = np.zeros(call.arguments[name].shape, dtype)
        with pytest.raises(TypeError, match=f"^{call.name}: {name} has dtype"):
            call.run(**{name: wrong})


@every_2d_call
def test_array_likes(call):
    """Nested lists and subclasses of ndarray are read, and the result is a plain array."""
    assert_results(call.converted(lambda a: a.tolist()), call, "float64")
    assert_results(call.converted(np.ma.masked_array), call, "float64")


# ---- views of inputs -----------------------------------------------------------------------------


def _sliced(a):
    whole = np.full([2 * n + 3 for n in a.shape], np.nan, a.dtype)
    view = whole[tuple(slice(2, 2 * n + 2, 2) for n in a.shape)]
    view[...] = a
    return view


def _reversed(a):
    return np.ascontiguousarray(a[(slice(None, None, -1),) * a.ndim])[
        (slice(None, None, -1),) * a.ndim
    ]


def _misaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def _field(a):
    """View a field of packed records: its stride is no whole number of elements."""
    records = np.zeros(a.shape, [("tag", "u1"), ("value", a.dtype)])
    records["value"] = a
    return records["value"]


def _read_only(a):
    copy = a.copy()
    copy.flags.writeable = False
    return copy


VIEWS = [_sliced, _reversed, _misaligned, _field, _read_only, np.asfortranarray]


@every_2d_call
@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_any_strides(call, view, dtype):
    """Whatever way the elements of an input lie in memory, the answer is the same."""
    results = call.converted(lambda a: view(a.astype(dtype)))
    assert_results(results, call, dtype)


@pytest.mark.parametrize("channels", [8, 19, 37, 200])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_channels_of_a_wider_array(channels, stride, dtype):
    """Some channels of an array with many more, one position a page from the next."""
    generator = np.random.default_rng(20240229)

    def few_of_many(*shape):
        wide = np.full((*shape, 1024), np.nan, dtype)
        wide[..., 3 : 3 + channels] = generator.integers(-3, 4, (*shape, channels))
        return wide[..., 3 : 3 + channels]

    x, out = few_of_many(2, 7, 6), -(-6 // stride)
    dy, w = few_of_many(2, -(-7 // stride), out), few_of_many(3, 3, 1)
    options = {"stride": stride, "padding": 1, "groups": channels, "layout": "channels_last"}
    views = (convlab.conv2d(x, w, **options), *convlab.conv2d_backward(dy, x, w, **options))
    x, dy, w = x.copy(), dy.copy(), w.copy()
    copies = (convlab.conv2d(x, w, **options), *convlab.conv2d_backward(dy, x, w, **options))
    for from_view, from_copy in zip(views, copies, strict=True):
        assert np.array_equal(from_view, from_copy)


@every_2d_call
def test_broadcast_inputs(call):
    """Inputs with strides of zero are read like their copies, and stay as they are."""
    broadcast = {
        name: np.broadcast_to(call.arguments[name].flat[0], call.arguments[name].shape)
        for name in call.arrays
    }
    copies = {name: a.copy() for name, a in broadcast.items()}
    for from_view, from_copy in zip(call.results(**broadcast), call.results(**copies), strict=True):
        assert np.array_equal(from_view, from_copy)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("taps", [8, 16, 17, 30])
def test_overlapping_weights(taps, dtype):
    """Taps and output channels both one element apart, also of many weights: like their copy."""
    ic, oc = 300, 2048
    x = integers("x", (1, taps, ic)).astype(dtype)
    memory = integers("w", (ic * oc + taps,)).astype(dtype)
    element = memory.itemsize
    w = np.lib.stride_tricks.as_strided(memory, (taps, ic, oc), (element, oc * element, element))
    from_view = convlab.conv1d(x, w, layout="channels_last")
    assert np.array_equal(from_view, convlab.conv1d(x, w.copy(), layout="channels_last"))


@every_call
def test_inputs_are_not_written(call):
    """No function changes its inputs."""
    before = {name: call.arguments[name].copy() for name in call.arrays}
    call.run()
    for name, copy in before.items():
        assert np.array_equal(call.arguments[name], copy)


# ---- out -----------------------------------------------------------------------------------------


@every_out_call
@pytest.mark.parametrize("view", [np.copy, *VIEWS[:4]], ids=lambda view: view.__name__)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex128", ">f8"])
def test_out_takes_any_view(call, view, dtype):
    """The result lands in out, which is returned, whatever its strides and byte order."""
    out = view(np.full(call.expected[0].shape, 77, dtype))
    arrays = {name: call.arguments[name].astype(dtype) for name in call.arrays}
    assert call.run(**arrays, out=out) is out
    assert np.array_equal(out, call.expected[0])


def test_out_touches_nothing_else():
    """Elements between those of a strided out keep their values."""
    whole = np.full((1, 2, 6, 6), 7.0)
    convlab.conv2d(np.ones((1, 1, 4, 4)), np.ones((2, 1, 2, 2)), out=whole[:, :, ::2, ::2])
    expected = np.full((1, 2, 6, 6), 7.0)
    expected[:, :, ::2, ::2] = 4
    assert np.array_equal(whole, expected)


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_out_may_overlap_inputs(shift):
    """An out in the same memory as x gets the answer for x as it was before the call."""
    memory = integers("overlap", (40,))
    x, out = memory[:36].reshape(1, 1, 6, 6), memory[shift : shift + 36].reshape(1, 1, 6, 6)
    w = integers("overlap w", (1, 1, 3, 3))
    expected = convlab.conv2d(x.copy(), w, padding=1)
    assert np.array_equal(convlab.conv2d(x, w, padding=1, out=out), expected)


def test_out_may_be_the_weight_or_bias():
    """The same for an out that overlaps w or b."""
    x = integers("x", (1, 1, 4, 4))
    w, b = integers("w", (1, 1, 2, 2)), integers("b", (4,))
    expected = convlab.conv2d(x, w, stride=2)
    assert np.array_equal(convlab.conv2d(x, w, stride=2, out=w), expected)
    x, w = integers("x", (4, 1, 1)), integers("w", (4, 1, 1, 1))
    expected = convlab.conv2d(x[:1], w, b)
    assert np.array_equal(convlab.conv2d(x[:1], w, b, out=b.reshape(4, 1, 1)), expected)


@every_out_call
@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda y: y.tolist(), TypeError, "out must be a NumPy array, got list"),
        (lambda y: y[..., 1:].copy(), ValueError, "out must have shape"),
        (lambda y: y[0].copy(), ValueError, "out must have shape"),
        (lambda y: y.astype("float32"), TypeError, "out must have dtype float64, got float32"),
        (_read_only, ValueError, "out is read-only"),
        (
            lambda y: np.lib.stride_tricks.as_strided(y, strides=(0, *y.strides[1:])),
            ValueError,
            "share memory with one another",
        ),
        (
            lambda y: np.lib.stride_tricks.as_strided(np.zeros(y.size), y.shape, (8,) * y.ndim),
            ValueError,
            "share memory with one another",
        ),
    ],
)
def test_wrong_out_is_refused(call, make, error, words):
    """An out of another shape or dtype, read-only or overlapping itself is a clear error."""
    with pytest.raises(error, match=f"^{call.name}: .*{words}"):
        call.run(out=make(call.expected[0].copy()))


def test_interleaved_out_does_not_overlap_itself():
    """Axes that interleave without sharing an element are no overlap."""
    y = convlab.conv2d(np.ones((2, 1, 1, 3)), np.ones((1, 1, 1, 1)))
    memory = np.zeros(12)
    out = np.lib.stride_tricks.as_strided(memory, y.shape, (5 * 8, 8, 8, 3 * 8))
    assert np.array_equal(convlab.conv2d(y, np.ones((1, 1, 1, 1)), out=out), y)
    assert np.flatnonzero(memory).tolist() == [0, 3, 5, 6, 8, 11]


# ---- needs, no batch axis, empty axes ------------------------------------------------------------


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("needs", [(), ("input",), ["weight"], {"bias"}, ("bias", "input")])
def test_needs(stem, needs):
    """What needs leaves out is None, and the rest is what it is with everything asked for."""
    (call,) = (c for c in CALLS_2D if c.name == f"{stem}2d_backward")
    results = zip(("input", "weight", "bias"), call.run(needs=needs), call.expected, strict=True)
    for name, result, expected in results:
        assert (result is None) == (name not in needs)
        assert result is None or np.array_equal(result, expected)


@every_call
def test_no_batch_axis(call):
    """Without a batch axis in, there is none out, and the values are those of a batch of one."""
    data = {name: call.arguments[name][0] for name in call.arrays if name in ("x", "dy")}
    shape = call.arguments.get("input_shape")
    single = {} if shape is None else {"input_shape": shape[1:]}
    batch = {} if shape is None else {"input_shape": (1, *shape[1:])}
    without = call.results(**data, **single)
    of_one = call.results(**{name: a[None] for name, a in data.items()}, **batch)
    for result, expected, whole in zip(without, of_one, call.expected, strict=True):
        has_batch = expected.shape[1:] == whole.shape[1:] and whole.shape[0] == 2
        assert np.array_equal(result, expected[0] if has_batch else expected)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize(("n", "c_in", "c_out"), [(0, 2, 3), (2, 0, 3), (2, 2, 0), (0, 0, 0)])
def test_empty_axes(stem, layout, n, c_in, c_out):
    """No images or channels: sums of nothing are zero, so y is the bias and gradients are zeros."""
    last = layout == "channels_last"
    first, second = (c_in, c_out) if stem == "conv_transpose" or last else (c_out, c_in)
    x = np.ones((n, 5, 5, c_in) if last else (n, c_in, 5, 5))
    w = np.ones((3, 3, first, second) if last else (first, second, 3, 3))
    b = np.arange(1.0, c_out + 1)
    y = getattr(convlab, f"{stem}2d")(x, w, b, layout=layout)
    size = 7 if stem == "conv_transpose" else 3
    assert y.shape == ((n, size, size, c_out) if last else (n, c_out, size, size))
    if not c_in:
        assert np.array_equal(y, np.broadcast_to(b if last else b[:, None, None], y.shape))
    dy = np.ones(y.shape)
    dx, dw, db = getattr(convlab, f"{stem}2d_backward")(dy, x, w, layout=layout)
    assert dx.shape == x.shape
    assert dw.shape == w.shape
    assert not dw.any()
    assert np.array_equal(db, np.full(c_out, n * size * size))
    if not c_out:
        assert not dx.any()


def test_empty_image_with_padding_is_the_bias():
    """An image of no pixels, padded, holds only zeros: the output is the bias."""
    y = convlab.conv2d(np.ones((2, 3, 0, 4)), np.ones((2, 3, 3, 3)), [5.0, 6.0], padding=2)
    assert np.array_equal(y, np.broadcast_to([[[5.0]], [[6.0]]], (2, 2, 2, 6)))


@pytest.mark.parametrize("w", [np.ones((2, 4, 3, 3)), np.ones((4, 2, 3, 3))[:, ::-1]])
def test_torch_tensors_are_array_likes(w):
    """Objects with ``__array__`` are read like arrays."""
    x = np.ones((1, w.shape[1], 4, 4))
    y = convlab.conv2d(torch.tensor(x), w)
    assert np.array_equal(y, convlab.conv2d(x, w))
