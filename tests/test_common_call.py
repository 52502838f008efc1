"""The common call, served by the binding at once, and the general one that Python parses."""

import numpy as np
import pytest

import convlab
from convlab import _core

FORWARD, GRAD_INPUT, GRAD_WEIGHT = range(3)


def _problem(nd, layout, dtype, rng):
    """Give arrays of a convolution with groups, a stride and a dilation, and its parameters."""
    last = layout == "channels_last"
    size, kernel = (9, 8, 7)[:nd], (3, 2, 3)[:nd]
    x_shape = (2, *size, 4) if last else (2, 4, *size)
    w_shape = (*kernel, 2, 6) if last else (6, 2, *kernel)
    parameters = {"stride": 2, "padding": (1,) * nd, "groups": 2, "layout": layout}
    x, w = (rng.standard_normal(shape).astype(dtype) for shape in (x_shape, w_shape))
    return x, w, rng.standard_normal(6).astype(dtype), parameters


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_common_and_general_calls_agree_bit_for_bit(nd, layout, dtype):
    """Whichever way a call takes, its result is the same: ``out`` is never a common call."""
    rng = np.random.default_rng(nd)
    x, w, b, parameters = _problem(nd, layout, dtype, rng)

    def both(name, *arguments, **extra):
        function = getattr(convlab, f"{name.format(nd)}")
        common = function(*arguments, **parameters, **extra)
        out = np.full_like(common, np.nan)
        assert function(*arguments, **parameters, **extra, out=out) is out
        np.testing.assert_array_equal(common, out)
        return common

    y = both("conv{}d", x, w, b)
    kernel = w.shape[:nd] if layout == "channels_last" else w.shape[2:]
    dx = both("conv{}d_grad_input", y, w, x.shape)
    dw = both("conv{}d_grad_weight", y, x, kernel)
    backward = getattr(convlab, f"conv{nd}d_backward")(y, x, w, **parameters)
    for one, other in zip(backward[:2], (dx, dw), strict=True):
        np.testing.assert_array_equal(one, other)

    wt = np.swapaxes(w, nd, nd + 1) if layout == "channels_last" else w
    wt = np.ascontiguousarray(wt)
    z = both("conv_transpose{}d", y, wt)
    both("conv_transpose{}d_grad_input", z, wt)
    both("conv_transpose{}d_grad_weight", z, y, kernel)


def _common(primitive=FORWARD, **changes):
    """Call the binding's common call on a small problem, with some arguments changed."""
    arguments = {
        "primitive": primitive,
        "transposed": False,
        "nd": 2,
        "in1": np.ones((1, 2, 5, 5)),
        "in2": np.ones((3, 2, 3, 3)),
        "b": None,
        "size": None,
        "stride": 1,
        "padding": 0,
        "dilation": 1,
        "groups": 1,
        "layout": "channels_first",
        "out": None,
    }
    assert changes.keys() <= arguments.keys()
    return _core.common(*(arguments | changes).values())


UNCOMMON = {
    "list": {"in1": [[[[1.0]]]]},
    "None": {"in2": None},
    "integers": {"in1": np.ones((1, 2, 5, 5), int)},
    "two dtypes": {"in2": np.ones((3, 2, 3, 3), np.float32)},
    "byte-swapped": {"in1": np.ones((1, 2, 5, 5), np.dtype(float).newbyteorder())},
    "empty": {"in1": np.ones((0, 2, 5, 5))},
    "unbatched": {"in1": np.ones((2, 5, 5))},
    "bias of another length": {"b": np.ones(4)},
    "bias of two axes": {"b": np.ones((3, 1))},
    "channels": {"in1": np.ones((1, 4, 5, 5))},
    "groups": {"groups": 2},
    "groups of 0": {"groups": 0},
    "huge groups": {"groups": 2**70},
    "bool": {"groups": True},
    "stride 0": {"stride": 0},
    "stride of three": {"stride": (1, 1, 1)},
    "float stride": {"stride": 1.0},
    "huge stride": {"stride": 2**63},
    "negative padding": {"padding": -1},
    "pairs": {"padding": ((0, 1), (1, 0))},
    "same": {"padding": "same"},
    "huge dilation": {"dilation": 2**31},
    "kernel too large": {"dilation": 3},
    "layout": {"layout": "channels_middle"},
    "layout of bytes": {"layout": b"channels_first"},
    "out": {"out": np.ones((1, 3, 3, 3))},
}


@pytest.mark.parametrize("change", UNCOMMON.values(), ids=UNCOMMON)
def test_any_other_call_is_left_to_python(change):
    """What is not common, right or wrong, gives None: Python parses it and says what is wrong."""
    assert _common() is not None
    assert _common(**change) is None


@pytest.mark.parametrize(
    ("primitive", "change"),
    [
        (GRAD_INPUT, {"in1": np.ones((1, 3, 3, 3)), "size": (1, 2, 5)}),
        (GRAD_INPUT, {"in1": np.ones((1, 3, 3, 3)), "size": (1, 2, 5, 2**70)}),
        (GRAD_INPUT, {"in1": np.ones((1, 3, 3, 3)), "size": (1, 2, 5, 6)}),
        (GRAD_INPUT, {"in1": np.ones((1, 3, 3, 3)), "size": [1, 2, 5, 5]}),
        (GRAD_WEIGHT, {"in1": np.ones((1, 3, 3, 3)), "in2": np.ones((1, 2, 5, 5))}),
        (
            GRAD_WEIGHT,
            {"in1": np.ones((1, 3, 3, 3)), "in2": np.ones((1, 2, 5, 5)), "size": (3, 4)},
        ),
    ],
)
def test_sizes_that_do_not_fit_are_left_to_python(primitive, change):
    """A gradient whose given size is not that of the arrays is no common call."""
    assert _common(primitive, **change) is None


@pytest.mark.parametrize("arguments", [(), (0,) * 12, (3,) + (0,) * 12, (0, 0, 4) + (0,) * 10])
def test_a_malformed_call_of_the_binding_is_a_type_error(arguments):
    """The binding never reads arguments that are not there."""
    with pytest.raises(TypeError, match="common takes 13 arguments"):
        _core.common(*arguments)
