"""Bad arguments: the right exception, and a message that names the function and the argument."""

import re

import numpy as np
import pytest
from calls import CONV_CALLS

import convlab

X, W = np.ones((2, 4, 6, 7)), np.ones((6, 4, 3, 3))
W_TRANSPOSED = np.ones((4, 6, 3, 3))

every_call = pytest.mark.parametrize("call", CONV_CALLS, ids=str)


class Hostile:
    """An integer that is none."""

    def __init__(self, error=RuntimeError):
        self.error = error

    def __index__(self):
        raise self.error("no")


class LyingSequence(list):
    """A sequence that cannot be listed."""

    def __iter__(self):
        raise RuntimeError("no")


def raises(error, *words):
    return pytest.raises(error, match=".*".join(re.escape(word) for word in words))


# ---- values that no parameter takes, in every function -------------------------------------------


@every_call
@pytest.mark.parametrize("name", ["stride", "dilation", "groups", "padding"])
def test_not_an_int(call, name):
    """Bools, floats and objects that only look like ints are TypeErrors."""
    for value in (True, np.True_, 1.0, np.float32(1), 1j, None, b"1", {1, 2}, Hostile(), object()):
        with raises(TypeError, f"{call.name}: {name} must be an int, got {type(value).__name__}"):
            call.run(**{name: value})


@every_call
@pytest.mark.parametrize("name", ["stride", "dilation", "groups", "padding"])
def test_huge_ints(call, name):
    """A parameter that no machine could follow is refused before anything is computed from it."""
    for value in (2**31, 2**63, 2**70, -(2**31), -(2**70), 10**5000):
        with raises(ValueError, f"{call.name}: {name} is out of range"):
            call.run(**{name: value})


@every_call
@pytest.mark.parametrize("name", ["stride", "dilation", "groups"])
def test_not_positive(call, name):
    """Steps and groups start at 1."""
    for value in (0, -1):
        with raises(ValueError, f"{call.name}: {name} must be at least 1, got {value}"):
            call.run(**{name: value})


@every_call
@pytest.mark.parametrize("name", ["stride", "dilation", "padding"])
def test_wrong_number_of_values(call, name):
    """A sequence must have one item per axis; the message names the axes."""
    for value in [(), (1,) * 4, [1] * 5, np.ones(6, int)]:
        with raises(ValueError, f"{call.name}: {name} must be an int", f"got {len(value)} values"):
            call.run(**{name: value})
    with raises(TypeError, f"{call.name}: {name} cannot be read as a sequence"):
        call.run(**{name: LyingSequence([1, 1])})


@every_call
@pytest.mark.parametrize(
    ("layout", "error"), [("NCHW", ValueError), ("", ValueError), (None, TypeError), (1, TypeError)]
)
def test_layout(call, layout, error):
    """Only the two layouts, by name."""
    with raises(error, f"{call.name}: layout must be"):
        call.run(layout=layout)


@every_call
def test_arrays(call):
    """None, scalars, ragged lists and wrong numbers of axes are refused in every array."""
    for name in call.arrays:
        # A bias may be None; ranks of b are checked below.
        if name != "b":
            with raises(TypeError, f"{call.name}: {name} must be an array, got None"):
                call.run(**{name: None})
            shown = "weight" if name == "w" else name
            for wrong in (1.0, np.ones(3), np.ones((1,) * 7)):
                with raises(ValueError, f"{call.name}: {shown} must have"):
                    call.run(**{name: wrong})
        with raises(TypeError, f"{call.name}: {name} has dtype"):
            call.run(**{name: "abc"})
        with raises(ValueError, f"{call.name}: {name} is not an array"):
            call.run(**{name: [[1, 2], [3]]})


@every_call
def test_kernel_of_no_elements(call):
    """A kernel with an axis of no elements is refused."""
    if "w" in call.arrays:
        with raises(ValueError, f"{call.name}: the kernel of weight must have at least one"):
            call.run(w=call.arguments["w"][..., :0])
    else:
        with raises(ValueError, f"{call.name}: kernel_size must be at least 1, got 0"):
            call.run(kernel_size=0)


# ---- padding -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("padding", "error", "words"),
    [
        ("full", ValueError, "padding must be one of ('valid', 'same', 'same_lower'), got 'full'"),
        ((1, (0, 1)), TypeError, "padding mixes ints and pairs"),
        (((0, 1),), ValueError, "padding must be an int, one int per axis (height, width) or one"),
        (((0, 1), (1, 2, 3)), ValueError, "padding of an axis must be a pair (before, after)"),
        (((0, 1), (1, 2.0)), TypeError, "padding must be an int, got float"),
        (((0, 1), "ab"), TypeError, "padding mixes ints and pairs"),
        (((0, 1), LyingSequence()), TypeError, "padding cannot be read as a sequence"),
        (((0, 1), (2**40, 0)), ValueError, "padding is out of range"),
    ],
)
def test_padding_forms(padding, error, words):
    """Each malformed padding says what is wrong with it."""
    with raises(error, f"conv2d: {words}"):
        convlab.conv2d(X, W, padding=padding)


def test_pair_for_one_axis():
    """In 1-D a bare pair has two values for one axis; the message shows how to write the pair."""
    with raises(ValueError, "conv1d: padding", "got 2 values", "((before, after),)"):
        convlab.conv1d(X[0], W[0], padding=(0, 1))


def test_padding_forms_agree():
    """Every way to write one padding gives one answer, and NumPy ints are ints."""
    expected = convlab.conv2d(X, W, padding=((1, 1), (2, 2)))
    for same in [(1, 2), [1, 2], np.array([1, 2]), [[1, 1], [2, 2]], np.array([[1, 1], [2, 2]])]:
        assert np.array_equal(convlab.conv2d(X, W, padding=same), expected)
    assert np.array_equal(
        convlab.conv2d(X, W, padding=np.int8(1)), convlab.conv2d(X, W, padding=((1, 1), (1, 1)))
    )


# ---- sizes that do not fit together --------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: convlab.conv2d(X, W[:, :3]),
            "conv2d: weight has 3 input channels per group, but x has 4 channels and groups=1",
        ),
        (
            lambda: convlab.conv2d(X, W, groups=3),
            "conv2d: weight has 4 input channels per group, but x has 4 channels and groups=3",
        ),
        (
            lambda: convlab.conv2d(X, W[:5, :2], groups=2),
            "conv2d: weight has 5 output channels, which groups=2 does not divide",
        ),
        (
            lambda: convlab.conv2d(X, W, np.ones(5)),
            "conv2d: b must have shape (6,), one value per output channel, got (5,)",
        ),
        (
            lambda: convlab.conv2d(X, W, np.ones((6, 1))),
            "conv2d: b must have shape (6,), one value per output channel, got (6, 1)",
        ),
        (
            lambda: convlab.conv2d(X, np.ones((1, 4, 9, 3)), padding=1),
            "conv2d: the kernel of size (9, 3) is larger than the padded input of size (8, 9)",
        ),
        (
            lambda: convlab.conv2d(X, W, dilation=(1, 4)),
            "conv2d: the kernel of size (3, 3), (3, 9) when dilated by (1, 4), "
            "is larger than the padded input of size (6, 7)",
        ),
        (
            lambda: convlab.conv2d(X, W, padding=-4),
            "conv2d: the kernel of size (3, 3) is larger than the padded input of size (-2, -1)",
        ),
        (
            lambda: convlab.conv2d(X, W, layout="channels_last"),
            "conv2d: weight has 3 input channels per group, but x has 7 channels and groups=1",
        ),
        (
            lambda: convlab.conv2d_backward(np.ones((2, 6, 4, 4)), X, W),
            "conv2d_backward: dy must have the output's shape (2, 6, 4, 5), got (2, 6, 4, 4)",
        ),
        (
            lambda: convlab.conv2d_grad_input(np.ones((2, 6, 4, 5)), W, (2, 4, 6, 8)),
            "conv2d_grad_input: dy must have the output's shape (2, 6, 4, 6), got (2, 6, 4, 5)",
        ),
        (
            lambda: convlab.conv2d_grad_input(np.ones((2, 6, 4, 5)), W, (6, 7)),
            "conv2d_grad_input: input_shape must have 4 axes (N, C, H, W), or 3 without N",
        ),
        (
            lambda: convlab.conv2d_grad_weight(np.ones((2, 6, 4, 5)), X, 3, groups=3),
            "conv2d_grad_weight: x has 4 channels, which groups=3 does not divide",
        ),
        (
            lambda: convlab.conv2d_grad_weight(np.ones((2, 5, 4, 5)), X, 3, groups=2),
            "conv2d_grad_weight: dy has 5 channels, which groups=2 does not divide",
        ),
        (
            lambda: convlab.conv_transpose2d(X, W),
            "conv_transpose2d: weight has 6 input channels, but x has 4 channels",
        ),
        (
            lambda: convlab.conv_transpose2d(X, W_TRANSPOSED, groups=3),
            "conv_transpose2d: x has 4 channels, which groups=3 does not divide",
        ),
        (
            lambda: convlab.conv_transpose2d(X, W_TRANSPOSED, np.ones(4)),
            "conv_transpose2d: b must have shape (6,), one value per output channel, got (4,)",
        ),
        (
            lambda: convlab.conv_transpose2d(X, W_TRANSPOSED, padding=5),
            "conv_transpose2d: padding crops more than there is: "
            "the output would have size (-2, -1)",
        ),
        (
            lambda: convlab.conv_transpose2d(X, W_TRANSPOSED, stride=2, output_padding=(0, 2)),
            "conv_transpose2d: output_padding must be smaller than stride or dilation on every "
            "axis, got (0, 2) with stride (2, 2) and dilation (1, 1)",
        ),
        (
            lambda: convlab.conv_transpose2d(X, W_TRANSPOSED, stride=3, output_size=(18, 30)),
            "conv_transpose2d: output_size must lie between (18, 21) and (20, 23) "
            "for this input, kernel, stride, padding and dilation, got (18, 30)",
        ),
        (
            lambda: convlab.conv_transpose2d(
                X, W_TRANSPOSED, stride=2, output_padding=1, output_size=14
            ),
            "conv_transpose2d: give output_size or output_padding, not both",
        ),
        (
            lambda: convlab.conv_transpose2d(
                X, W_TRANSPOSED, stride=2, padding="same", output_padding=1
            ),
            "conv_transpose2d: padding='same' fixes the output's size",
        ),
        (
            lambda: convlab.conv_transpose2d(
                X, W_TRANSPOSED, stride=2, padding="same", output_size=(10, 14)
            ),
            "conv_transpose2d: output_size must lie between (11, 13) and (12, 14)",
        ),
        (
            lambda: convlab.conv_transpose2d_backward(np.ones((2, 6, 9, 9)), X, W_TRANSPOSED),
            "conv_transpose2d_backward: the spatial size of dy must lie between (8, 9) and (8, 9)",
        ),
        (
            lambda: convlab.conv_transpose2d_backward(np.ones((2, 5, 8, 9)), X, W_TRANSPOSED),
            "conv_transpose2d_backward: dy must have the output's shape (2, 6, 8, 9), "
            "got (2, 5, 8, 9)",
        ),
        (
            lambda: convlab.conv_transpose2d_grad_input(np.ones((2, 5, 8, 9)), W_TRANSPOSED),
            "conv_transpose2d_grad_input: weight has 6 output channels per group, "
            "but dy has 5 channels and groups=1",
        ),
        (
            lambda: convlab.conv_transpose2d_grad_input(
                np.ones((2, 6, 8, 9)), W_TRANSPOSED, stride=2, output_padding=0
            ),
            "conv_transpose2d_grad_input: no input gives a dy of size (8, 9)",
        ),
        (
            lambda: convlab.conv_transpose2d_grad_input(
                np.ones((2, 6, 8, 9)), W_TRANSPOSED, output_size=(8, 8)
            ),
            "conv_transpose2d_grad_input: dy must have the spatial size (8, 8), got (8, 9)",
        ),
    ],
)
def test_sizes(call, message):
    """The message says in the user's terms which sizes contradict one another."""
    with raises(ValueError, message):
        call()


def test_too_large_to_allocate():
    """A result that memory cannot hold is a MemoryError with its shape, not a killed process."""
    with raises(MemoryError, "conv2d: cannot allocate an array of shape"):
        convlab.conv2d(X, W, padding=2**31 - 1)
    with raises(MemoryError, "conv1d:", "array of shape (4096, 1, 4294967295)"):
        convlab.conv1d(np.ones((4096, 1, 1)), np.ones((1, 1, 1)), padding=2**31 - 1)


@pytest.mark.parametrize("function", ["conv2d_backward", "conv_transpose2d_backward"])
@pytest.mark.parametrize(
    ("needs", "error"),
    [("input", TypeError), (None, TypeError), ((1,), TypeError), (("x",), ValueError)],
)
def test_needs(function, needs, error):
    """A bare string is refused, because it would be read letter by letter; so are unknown names."""
    (call,) = (c for c in CONV_CALLS if c.name == function)
    with raises(error, f"{function}: needs must"):
        call.run(needs=needs)


@pytest.mark.parametrize("shape", [5, "abc", None, (2, 4, 6.0, 7), (2, 4, True, 7), (2, 4, -1, 7)])
def test_input_shape(shape):
    """input_shape is a tuple of sizes."""
    error = ValueError if shape == (2, 4, -1, 7) else TypeError
    with raises(error, "conv2d_grad_input: input_shape must be"):
        convlab.conv2d_grad_input(np.ones((2, 6, 4, 5)), W, shape)
