"""The lessons and `receptive_field` under bad arguments: an error that says which one.

The lessons are thin: what they do not look at themselves, the function below them refuses, in its
name and by its name for the argument.
"""

import itertools
import re

import numpy as np
import pytest
from robustness import strategies as draws

import convlab
from convlab.lessons import channels_first, channels_last, one_image, planes, transposed

ERRORS = (ValueError, TypeError, OverflowError, MemoryError)
# What the functions below call an argument.
BELOW = {
    "pad": "padding",
    "bias": "b",
    "filter": "weight",
    "filters": "weight",
    "k": "weight",
    "kernel_size": "kernel",
    "input_size": "input_shape",
    "output_size": "columns",
}

IMAGES, PLANE, SMALL = np.ones((2, 3, 5, 6)), np.ones((5, 6)), np.ones((2, 2))
WEIGHT, BACK, BIAS = np.ones((4, 3, 2, 2)), np.ones((3, 4, 2, 2)), np.ones((4, 1, 1, 1))
LAST = np.ones((2, 5, 6, 3))
Z, CACHE = channels_first.conv_forward(IMAGES, WEIGHT, BIAS)
Z_BACK, CACHE_BACK = channels_first.conv_transpose_forward(IMAGES, BACK, BIAS)
CUBE, ONE_FILTER = np.ones((5, 6, 3)), np.ones((2, 2, 3))
ROWS = transposed.im2rows(IMAGES, 2)

# Each function, with arrays that fit and numbers that fit.
CALLS = [
    (channels_last.zero_pad, {"X": LAST}, {"pad": 1}),
    (channels_last.upsample, {"X": LAST}, {"stride": 2, "pad": 0}),
    (channels_last.downsample, {"X": LAST}, {"stride": 2, "pad": 0}),
    (channels_last.rotate180, {"matrix": np.ones((2, 2, 3, 4))}, {}),
    (
        channels_first.conv_forward,
        {"A_prev": IMAGES, "W": WEIGHT, "b": BIAS},
        {"stride": 1, "pad": 0},
    ),
    (channels_first.conv_backward, {"dZ": Z}, {}),
    (
        channels_first.conv_transpose_forward,
        {"A_prev": IMAGES, "W": BACK, "b": BIAS},
        {"stride": 1, "pad": 0},
    ),
    (channels_first.conv_transpose_backward, {"dZ": Z_BACK}, {}),
    (
        channels_first.apply_filter,
        {"a_slice": WEIGHT[0], "W": WEIGHT[0], "b": np.ones((1, 1, 1))},
        {},
    ),
    (one_image.conv2d_forward, {"matrix": CUBE, "filter": ONE_FILTER}, {}),
    (one_image.conv2d_backward, {"upstream": np.ones((4, 5, 1)), "filter": ONE_FILTER}, {}),
    (one_image.conv2d_backward_weights, {"x": CUBE, "upstream": np.ones((4, 5, 1))}, {}),
    (
        transposed.transposed_conv,
        {"X": PLANE, "K": SMALL},
        {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0},
    ),
    (transposed.column_vector, {"x": PLANE}, {}),
    (transposed.conv_matrix, {"k": SMALL}, {"stride": 1, "input_size": 6, "padding": 0}),
    (transposed.im2rows, {"x": IMAGES}, {"kernel_size": 2, "stride": 1, "dilation": 1}),
    (transposed.rows2im, {"rows": ROWS}, {"output_size": (5, 6), "kernel_size": 2, "stride": 1}),
    (
        transposed.transposed_conv2d,
        {"image": IMAGES, "filters": BACK},
        {"dilation": 1, "stride": 1},
    ),
    (planes.cross_correlate, {"A": PLANE, "B": SMALL}, {"stride": 1}),
    (planes.convolve, {"x": IMAGES, "weight": WEIGHT, "bias": np.ones(4)}, {"stride": 1}),
    (
        planes.cross_correlation_grad,
        {"A": PLANE, "B": SMALL, "C_grad": np.ones((4, 5))},
        {"stride": 1},
    ),
    (
        planes.cross_correlation_input_grad,
        {"A": PLANE, "B": SMALL, "C_grad": np.ones((4, 5))},
        {"stride": 1},
    ),
    (planes.convolution_grad, {"x": IMAGES, "weight": WEIGHT, "output_grad": Z}, {"stride": 1}),
]
CACHES = {
    channels_first.conv_backward: {"cache": CACHE},
    channels_first.conv_transpose_backward: {"cache": CACHE_BACK},
}


def assert_refused(call, name: str) -> None:
    with pytest.raises(ERRORS) as caught:
        call()
    message = str(caught.value)
    assert re.match(r"\w+: ", message), message
    words = (name, BELOW.get(name, name))
    assert any(re.search(rf"\b{word}\b", message) for word in words), message


@pytest.mark.parametrize(
    ("function", "arrays", "numbers"), CALLS, ids=lambda v: getattr(v, "__name__", "")
)
def test_bad_arguments(function, arrays, numbers):
    """What is no array of numbers, or no whole number in range, is an error that names it."""
    valid = arrays | numbers | CACHES.get(function, {})
    function(**valid)
    for name, array in arrays.items():
        retyped = [draws.recast(array, dtype) for dtype in draws.NOT_NUMBERS]
        missing = [] if (function, name) == (planes.convolve, "bias") else [None]
        for value in [*missing, *draws.NOT_ARRAYS, *retyped, np.ones((2,) * 6)]:
            assert_refused(lambda name=name, value=value: function(**valid | {name: value}), name)
    for name in numbers:
        for value in [None, *(v for v in draws.NOT_INTS if v != "1"), *draws.TOO_LARGE]:
            assert_refused(lambda name=name, value=value: function(**valid | {name: value}), name)


@pytest.mark.parametrize(
    "layers",
    [
        None,
        3,
        1.5,
        object(),
        itertools.repeat(3),
        [None],
        [object()],
        ["3"],
        [2**70],
        [0],
        [True],
        [()],
        [(1, 2, 3, 4)],
        [{}],
        [{"stride": 1}],
        [{"kernel_size": 3, "strides": 1}],
        [{"kernel_size": 3, "stride": 2**70}],
        [{"kernel_size": 3, "padding": "full"}],
        [{"kernel_size": draws.RaisingIndex()}],
    ],
)
def test_bad_layers_of_receptive_field(layers):
    """The same for a stack of layers, which may even have no end."""
    with pytest.raises(ERRORS, match=r"^receptive_field: .*(layer|kernel_size|stride|padding)"):
        convlab.receptive_field(layers)


def test_images_without_channels():
    """No channels in, none out, of the size that there would be with some."""
    empty = np.ones((2, 4, 3, 0))
    assert channels_last.upsample(empty, 2, 1).shape == (2, 9, 7, 0)
    assert channels_last.downsample(empty, 2, 0).shape == (2, 2, 2, 0)
