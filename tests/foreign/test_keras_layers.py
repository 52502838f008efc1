"""What Keras tests of its convolution layers, computed through convlab.

Conv1D, Conv2D, Conv3D, their transposes and the depthwise layers, with padding "valid" and "same",
strides, dilation and both data formats, against plain NumPy loops written here from the definition
of each layer. Keras's kernels are (*k, in, out), of a transpose (*k, out, in), of a depthwise layer
(*k, in, multiplier).
"""

import itertools
from math import ceil

import numpy as np
import pytest
from oracle import SAFETY, rng

import convlab

FORMATS = ("channels_last", "channels_first")


def naive_conv(x, kernel, bias, strides, padding, dilation, groups):
    """One output position at a time: x (n, *size, in), kernel (*k, in/groups, out)."""
    k = kernel.shape[:-2]
    reach = [d * (size - 1) + 1 for d, size in zip(dilation, k, strict=True)]
    if padding == "same":
        out = [ceil(n / s) for n, s in zip(x.shape[1:-1], strides, strict=True)]
        axes = zip(out, strides, reach, x.shape[1:-1], strict=True)
        total = [max((o - 1) * s + r - n, 0) for o, s, r, n in axes]
        x = np.pad(x, [(0, 0), *((t // 2, t - t // 2) for t in total), (0, 0)])
    else:
        axes = zip(x.shape[1:-1], reach, strides, strict=True)
        out = [(n - r) // s + 1 for n, r, s in axes]
    y = np.zeros((len(x), *out, kernel.shape[-1]))
    xs, kernels = np.split(x, groups, axis=-1), np.split(kernel, groups, axis=-1)
    for position in itertools.product(*map(range, out)):
        window = tuple(
            slice(o * s, o * s + r, d)
            for o, s, r, d in zip(position, strides, reach, dilation, strict=True)
        )
        parts = [
            np.tensordot(part[(slice(None), *window)], w, len(k) + 1)
            for part, w in zip(xs, kernels, strict=True)
        ]
        y[(slice(None), *position)] = np.concatenate(parts, axis=-1) + bias
    return y


def naive_conv_transpose(x, kernel, bias, strides, padding):
    """One input position at a time: x (n, *size, in), kernel (*k, out, in)."""
    k, size = kernel.shape[:-2], x.shape[1:-1]
    whole = [s * (n - 1) + r for s, n, r in zip(strides, size, k, strict=True)]
    wanted = [n * s for n, s in zip(size, strides, strict=True)]
    room = [max(a, b) for a, b in zip(whole, wanted, strict=True)]
    y = np.zeros((len(x), *room, kernel.shape[-2]))
    for position in itertools.product(*map(range, size)):
        window = tuple(
            slice(i * s, i * s + r) for i, s, r in zip(position, strides, k, strict=True)
        )
        y[(slice(None), *window)] += np.tensordot(x[(slice(None), *position)], kernel, (-1, -1))
    if padding == "same":
        first = [max(r - s, 0) // 2 for r, s in zip(k, strides, strict=True)]
        kept = [slice(f, f + n) for f, n in zip(first, wanted, strict=True)]
        y = y[(slice(None), *kept)]
    else:
        y = y[(slice(None), *(slice(n) for n in whole))]
    return y + bias


def naive_depthwise(x, kernel, bias, strides, padding, dilation):
    """Each channel by itself: kernel (*k, in, multiplier), outputs channel by channel."""
    parts = [
        naive_conv(x[..., [c]], kernel[..., [c], :], 0.0, strides, padding, dilation, 1)
        for c in range(x.shape[-1])
    ]
    return np.concatenate(parts, axis=-1) + bias


def channels_moved(array, data_format):
    return np.moveaxis(array, -1, 1) if data_format == "channels_first" else array


def weight_moved(kernel, data_format, transposed=False):
    """(*k, in/groups, out) as convlab takes it, or a transpose's (*k, in, out)."""
    if data_format == "channels_last":
        return kernel
    spatial = tuple(range(kernel.ndim - 2))
    channels = (-2, -1) if transposed else (-1, -2)
    return kernel.transpose(*(axis % kernel.ndim for axis in channels), *spatial)


def assert_exactly(actual, expected, data_format):
    """Compare as equal: data are small integers, and every sum is exact."""
    assert np.array_equal(channels_moved(expected, data_format), actual)


def integers(*shape):
    return rng("keras", shape).integers(-4, 5, shape).astype(np.float64)


# filters, kernel, strides, padding, dilation, groups, input size, input channels
CONVOLUTIONS = [
    (5, (2,), (1,), "valid", (1,), 1, (7,), 3),
    (6, (3,), (1,), "same", (2,), 2, (8,), 4),
    (6, (4,), (3,), "same", (1,), 1, (11,), 4),
    (6, (2,), (2,), "valid", (1,), 3, (9,), 6),
    (4, (3,), (1,), "valid", (4,), 1, (9,), 2),
    (5, (2, 2), (1, 1), "valid", (1, 1), 1, (6, 5), 3),
    (4, (3, 3), (1, 1), "same", (2, 2), 2, (7, 6), 4),
    (6, (4, 3), (2, 1), "same", (1, 1), 2, (8, 7), 4),
    (6, (2, 3), (2, 3), "same", (1, 1), 3, (9, 10), 3),
    (2, (5, 2), (3, 2), "valid", (1, 1), 1, (11, 9), 5),
    (3, (1, 1), (2, 2), "same", (1, 1), 1, (5, 5), 2),
    (5, (2, 2, 2), (1, 1, 1), "valid", (1, 1, 1), 1, (4, 5, 3), 3),
    (4, (3, 2, 3), (1, 1, 1), "same", (2, 2, 2), 2, (5, 6, 5), 4),
    (6, (2, 2, 3), (2, 1, 3), "valid", (1, 1, 1), 3, (6, 5, 8), 3),
    (6, (2, 2, 3), (2, 2, 2), "same", (1, 1, 1), 1, (5, 4, 7), 2),
]


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
def test_conv(layer, data_format):
    """Conv1D, Conv2D, Conv3D."""
    filters, k, strides, padding, dilation, groups, size, channels = layer
    x, bias = integers(2, *size, channels), integers(filters)
    kernel = integers(*k, channels // groups, filters)
    y = getattr(convlab, f"conv{len(k)}d")(
        channels_moved(x, data_format),
        weight_moved(kernel, data_format),
        bias,
        stride=strides,
        padding=padding,
        dilation=dilation,
        groups=groups,
        layout=data_format,
    )
    expected = naive_conv(x, kernel, bias, strides, padding, dilation, groups)
    assert_exactly(y, expected, data_format)


# filters, kernel, strides, padding, input size, input channels
TRANSPOSES = [
    (5, (2,), (2,), "valid", (7,), 3),
    (6, (3,), (2,), "same", (8,), 4),
    (6, (2,), (3,), "same", (5,), 4),
    (2, (5,), (3,), "valid", (4,), 2),
    (5, (2, 2), (2, 2), "valid", (4, 5), 3),
    (6, (7, 7), (2, 2), "same", (5, 4), 2),
    (5, (3, 4), (2, 1), "same", (5, 6), 3),
    (3, (2, 3), (3, 2), "valid", (4, 3), 2),
    (5, (2, 2, 2), (1, 1, 1), "valid", (3, 4, 3), 3),
    (6, (3, 4, 2), (2, 2, 1), "same", (3, 2, 4), 2),
]


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("layer", TRANSPOSES, ids=str)
def test_conv_transpose(layer, data_format):
    """Conv1DTranspose, Conv2DTranspose, Conv3DTranspose: "same" gives size times stride."""
    filters, k, strides, padding, size, channels = layer
    x, bias = integers(2, *size, channels), integers(filters)
    kernel = integers(*k, filters, channels)
    y = getattr(convlab, f"conv_transpose{len(k)}d")(
        channels_moved(x, data_format),
        weight_moved(np.swapaxes(kernel, -1, -2), data_format, transposed=True),
        bias,
        stride=strides,
        padding=padding,
        layout=data_format,
    )
    expected = naive_conv_transpose(x, kernel, bias, strides, padding)
    assert_exactly(y, expected, data_format)


# multiplier, kernel, strides, padding, dilation, input size, input channels
DEPTHWISE = [
    (5, (2,), (1,), "valid", (1,), (7,), 3),
    (1, (3,), (1,), "same", (2,), (8,), 4),
    (2, (3,), (2,), "same", (1,), (9,), 5),
    (5, (2, 2), (1, 1), "valid", (1, 1), (5, 5), 4),
    (1, (3, 3), (1, 1), "same", (2, 2), (8, 8), 4),
    (2, (3, 2), (2, 2), "same", (1, 1), (7, 9), 3),
    (1, (2, 2), (2, 2), "valid", (1, 1), (8, 8), 17),
]


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("layer", DEPTHWISE, ids=str)
def test_depthwise(layer, data_format):
    """DepthwiseConv1D and DepthwiseConv2D: as many groups as channels."""
    multiplier, k, strides, padding, dilation, size, channels = layer
    x, bias = integers(2, *size, channels), integers(channels * multiplier)
    kernel = integers(*k, channels, multiplier)
    y = getattr(convlab, f"conv{len(k)}d")(
        channels_moved(x, data_format),
        weight_moved(kernel.reshape(*k, 1, channels * multiplier), data_format),
        bias,
        stride=strides,
        padding=padding,
        dilation=dilation,
        groups=channels,
        layout=data_format,
    )
    expected = naive_depthwise(x, kernel, bias, strides, padding, dilation)
    assert_exactly(y, expected, data_format)


@pytest.mark.parametrize("data_format", FORMATS)
def test_separable(data_format):
    """SeparableConv2D: a depthwise step, then a pointwise one."""
    x, depthwise, pointwise = integers(2, 7, 6, 3), integers(3, 2, 3, 2), integers(1, 1, 6, 5)
    between = convlab.conv2d(
        channels_moved(x, data_format),
        weight_moved(depthwise.reshape(3, 2, 1, 6), data_format),
        stride=2,
        padding="same",
        groups=3,
        layout=data_format,
    )
    y = convlab.conv2d(between, weight_moved(pointwise, data_format), layout=data_format)
    step = naive_depthwise(x, depthwise, 0.0, (2, 2), "same", (1, 1))
    expected = naive_conv(step, pointwise, 0.0, (1, 1), "valid", (1, 1), 1)
    assert_exactly(y, expected, data_format)


def test_causal_padding():
    """Conv1D's padding "causal" is padding before alone: no output depends on what comes later."""
    x, kernel = integers(1, 12, 2), integers(3, 2, 4)
    options = {"padding": ((4, 0),), "dilation": 2, "layout": "channels_last"}
    y = convlab.conv1d(x, kernel, **options)
    assert y.shape == (1, 12, 4)
    for step in range(12):
        later = x.copy()
        later[:, step + 1 :] = 9
        same = convlab.conv1d(later, kernel, **options)
        assert np.array_equal(y[:, : step + 1], same[:, : step + 1])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtype_policy(dtype):
    """A layer computes in its own dtype."""
    x = integers(2, 5, 5, 3).astype(dtype)
    kernel = integers(3, 3, 3, 4).astype(dtype)
    y = convlab.conv2d(x, kernel, layout="channels_last")
    assert y.dtype == dtype
    expected = naive_conv(
        x.astype("float64"), kernel.astype("float64"), 0.0, (1, 1), "valid", (1, 1), 1
    )
    spread = np.sqrt(27) * np.abs(expected).max()
    assert np.abs(y - expected).max() <= SAFETY * np.finfo(dtype).eps * spread


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 0}, "stride"),
        ({"dilation": 0}, "dilation"),
        ({"groups": 0}, "groups"),
        ({"groups": 2}, "groups"),
        ({"padding": "full"}, "padding"),
        ({"layout": "channels_middle"}, "layout"),
        ({"stride": (1, 2, 3)}, "stride"),
    ],
    ids=str,
)
def test_bad_layer_parameters(options, message):
    """What a layer refuses at construction is refused by name."""
    x, kernel = integers(2, 5, 5, 3), integers(3, 3, 3, 4)
    with pytest.raises((ValueError, TypeError), match=message):
        convlab.conv2d(x, kernel, **({"layout": "channels_last"} | options))
