"""What `explain` and `receptive_field` say is held against what the convolutions do."""

import itertools
import re

import numpy as np
import pytest

import convlab
from convlab import explain
from convlab._receptive_field import receptive_field

CONVOLUTIONS = [
    ((1, 1, 7), (1, 1, 3), {}),
    ((1, 1, 8), (1, 1, 3), {"stride": 2, "padding": 1}),
    ((1, 1, 9), (1, 1, 3), {"dilation": 3, "padding": ((2, 0),)}),
    ((1, 1, 6, 5), (1, 1, 3, 2), {"stride": (2, 1), "padding": (1, 0)}),
    ((1, 1, 7, 6), (1, 1, 2, 3), {"stride": 2, "padding": "same"}),
    ((1, 1, 7, 6), (1, 1, 2, 4), {"stride": 3, "padding": "same_lower"}),
    ((1, 1, 7, 6), (1, 1, 3, 3), {"padding": ((-1, 2), (0, -2)), "dilation": (1, 1)}),
    ((1, 1, 3, 4, 3), (1, 1, 2, 3, 1), {"stride": (1, 2, 2), "padding": 1}),
]
TRANSPOSED = [
    ((1, 1, 4), (1, 1, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((1, 1, 4), (1, 1, 2), {"stride": 3}),
    ((1, 1, 3), (1, 1, 3), {"stride": 2, "dilation": 2, "padding": ((1, 0),)}),
    ((1, 1, 3, 4), (1, 1, 3, 3), {"stride": 2, "output_size": (8, 9)}),
    ((1, 1, 3, 4), (1, 1, 4, 3), {"stride": (3, 2), "padding": "same"}),
    ((1, 1, 3, 4), (1, 1, 3, 2), {"stride": 2, "padding": "same_lower", "output_size": (5, 8)}),
    ((1, 1, 2, 3), (1, 1, 3, 3), {"padding": -1, "stride": 2}),
]
PROBLEMS = [(*case, False) for case in CONVOLUTIONS] + [(*case, True) for case in TRANSPOSED]

FAILING = [
    ((1, 3, 5, 5), (8, 3, 11, 3), {}, False),
    ((1, 3, 5, 5), (8, 3, 11, 3), {"padding": (1, 0)}, False),
    ((1, 3, 5, 5), (8, 3, 3, 9), {"padding": ((0, 0), (1, 0))}, False),
    ((1, 3, 9, 9), (8, 3, 3, 3), {"dilation": (6, 1)}, False),
    ((2, 6, 9, 9), (8, 3, 3, 3), {}, False),
    ((2, 4, 9), (7, 2, 3), {"groups": 2}, False),
    ((2, 4, 9), (8, 4, 3), {"groups": 0}, False),
    ((2, 32, 32, 3), (3, 3, 3, 8), {}, False),
    ((1, 3, 9, 9), (8, 3, 3, 3), {"stride": 0, "dilation": -1}, False),
    ((1, 3, 9, 9), (8, 3, 3, 3), {"padding": "smae"}, False),
    ((1, 3, 9, 9), (8, 3, 3, 3), {"stride": 1.5}, False),
    ((1, 3, 9, 9), (8, 3, 3, 3), {"layout": "NHWC"}, False),
    ((1, 3, 9, 9), (8, 3, 3, 3), {}, True),
    ((1, 3, 9, 9), (8, 3, 3, 3), {"layout": "channels_last"}, True),
    ((1, 3, 9, 9), (3, 8, 3, 3), {"stride": 2, "output_padding": 2}, True),
    ((1, 3, 9, 9), (3, 8, 3, 3), {"stride": 2, "output_size": (30, 18)}, True),
    ((1, 3, 9, 9), (3, 8, 3, 3), {"padding": "same", "output_padding": 1, "stride": 2}, True),
    ((1, 3, 2, 2), (3, 8, 3, 3), {"padding": 5}, True),
]


def function_of(nd: int, transposed: bool):
    return getattr(convlab, f"conv_transpose{nd}d" if transposed else f"conv{nd}d")


def taps_by_experiment(input_shape, weight_shape, options, transposed):
    """Set of (kernel index, input position) for every output, from one-hot x and w alone."""
    nd = len(input_shape) - 2
    conv = function_of(nd, transposed)
    found = {}
    for k in np.ndindex(weight_shape[2:]):
        w = np.zeros(weight_shape)
        w[0, 0][k] = 1
        # Each input element carries its own number, so an output names the one it was read from.
        x = np.arange(1.0, 1 + np.prod(input_shape)).reshape(input_shape)
        y = conv(x, w, **options)[0, 0]
        for o in np.ndindex(y.shape):
            at = found.setdefault(o, set())
            if y[o]:
                position = np.unravel_index(int(y[o]) - 1, input_shape[2:])
                at.add((k, tuple(map(int, position))))
    return found


@pytest.mark.parametrize(("input_shape", "weight_shape", "options", "transposed"), PROBLEMS)
def test_taps_are_those_of_the_convolution(input_shape, weight_shape, options, transposed):
    """The taps listed inside the input are exactly those that a one-hot experiment finds."""
    truth = taps_by_experiment(input_shape, weight_shape, options, transposed)
    for output, expected in truth.items():
        found = explain(input_shape, weight_shape, transposed=transposed, output=output, **options)
        inside = {(tap.kernel, tap.input) for tap in found.taps if not tap.padding}
        assert inside == expected, output
        outside = [tap for tap in found.taps if tap.padding]
        sizes = input_shape[2:]
        for tap in outside:
            assert not all(0 <= p < n for p, n in zip(tap.input, sizes, strict=True))
        if not transposed:
            assert len(found.taps) == np.prod(weight_shape[2:])


@pytest.mark.parametrize(("input_shape", "weight_shape", "options", "transposed"), PROBLEMS)
def test_sizes_in_the_report_are_the_real_ones(input_shape, weight_shape, options, transposed):
    """The formula with the numbers put in, evaluated as printed, gives the size of the output."""
    found = explain(input_shape, weight_shape, transposed=transposed, **options)
    conv = function_of(len(input_shape) - 2, transposed)
    y = conv(np.zeros(input_shape), np.zeros(weight_shape), **options)
    assert found.ok
    assert found.output_shape == y.shape
    assert tuple(axis.output for axis in found.axes) == y.shape[2:]
    lines = str(found).split("Output shape")[0].splitlines()[3:]
    printed = [re.sub(r"^ *(height|width|depth|=)? *", "", line) for line in lines]
    printed = [line for line in printed if line and "never read" not in line]
    steps = 2 if transposed else 3
    assert len(printed) == steps * len(found.axes)
    for i, line in enumerate(printed):
        # The formula's floor is Python's: "/" whole-number division of what stands in it.
        value = eval(line.replace("floor", "").replace("/", "//"))
        assert value == y.shape[2 + i // steps], line


def test_left_over_cells_change_nothing():
    """Cells called "never read" are never read: changing them leaves the output as it was."""
    found = explain((1, 1, 9), (1, 1, 3), stride=4)
    assert found.axes[0].left_over == 2
    assert "the last 2 of the padded input is never read" in str(found)
    x = np.ones((1, 1, 9))
    other = x.copy()
    other[..., -2:] = np.nan
    w = np.ones((1, 1, 3))
    assert np.array_equal(convlab.conv1d(x, w, stride=4), convlab.conv1d(other, w, stride=4))


@pytest.mark.parametrize(("input_shape", "weight_shape", "options", "transposed"), FAILING)
def test_failure_has_the_message_of_the_call(input_shape, weight_shape, options, transposed):
    """A failing call is explained by the very message that it raises."""
    found = explain(input_shape, weight_shape, transposed=transposed, **options)
    conv = function_of(len(weight_shape) - 2, transposed)
    with pytest.raises((ValueError, TypeError)) as raised:
        conv(np.zeros(input_shape), np.zeros(weight_shape), **options)
    assert not found.ok
    assert found.error == str(raised.value)
    assert found.error in str(found)
    assert found.error in found._repr_markdown_()
    assert found.output_shape is None
    assert found.taps == ()


@pytest.mark.parametrize(("input_shape", "weight_shape", "options", "transposed"), FAILING)
def test_remedies_mend_the_call(input_shape, weight_shape, options, transposed):
    """Every failing call here gets a remedy, and each remedy, applied, makes the call work."""
    found = explain(input_shape, weight_shape, transposed=transposed, **options)
    assert found.remedies
    for remedy in found.remedies:
        call = {"input_shape": input_shape, "weight_shape": weight_shape, **options}
        call |= remedy.changes
        x, w = np.zeros(call.pop("input_shape")), np.zeros(call.pop("weight_shape"))
        y = function_of(w.ndim - 2, transposed)(x, w, **call)
        assert y.shape == remedy.output_shape


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, 3), ({"padding": 1}, 3), ({"dilation": 2}, 8)],
)
def test_padding_remedy_is_the_least_that_works(options, expected):
    """The padding proposed for too large a kernel is the least; one less still fails."""
    found = explain((1, 3, 5, 5), (8, 3, 11, 3), **options)
    padding = next(r.changes["padding"] for r in found.remedies if "padding" in r.changes)
    assert padding == expected
    assert not explain((1, 3, 5, 5), (8, 3, 11, 3), **{**options, "padding": padding - 1}).ok


def test_single_changes_come_before_pairs():
    """Two arguments are changed only where no single change works."""
    one = explain((1, 3, 9, 9), (8, 3, 3, 3), stride=0)
    two = explain((1, 3, 9, 9), (8, 3, 3, 3), stride=0, dilation=0)
    assert [remedy.changes for remedy in one.remedies] == [{"stride": 1}]
    assert [remedy.changes for remedy in two.remedies] == [{"stride": 1, "dilation": 1}]


def test_likely_mistakes_find_their_remedy():
    """Layout, groups and the order of a transposed weight's channels are recognised."""
    layout = explain((1, 32, 32, 3), (3, 3, 3, 8))
    groups = explain((1, 6, 9, 9), (8, 3, 3, 3))
    swapped = explain((1, 3, 9, 9), (8, 3, 3, 3), transposed=True)
    assert layout.remedies[0].changes == {"layout": "channels_last"}
    assert groups.remedies[0].changes == {"groups": 2}
    assert {"weight_shape": (3, 3, 3, 3)} in [remedy.changes for remedy in swapped.remedies]


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("transposed", [False, True])
def test_channels_read(layout, transposed):
    """The number of input channels said to feed an output is the number that do."""
    first = layout == "channels_first"
    x_shape = (6, 5) if first else (5, 6)
    w_shape = {
        (True, False): (4, 3, 2),
        (True, True): (6, 2, 2),
        (False, False): (2, 3, 4),
        (False, True): (2, 6, 2),
    }[first, transposed]
    options = {"groups": 2, "layout": layout}
    found = explain(x_shape, w_shape, transposed=transposed, **options)
    conv = function_of(1, transposed)
    y = conv(np.ones(x_shape), np.ones(w_shape), **options)
    taps = sum(not tap.padding for tap in found.taps)
    assert y[0, 0] == found.channels_read * taps


def test_output_position():
    """Negative positions count from the end; positions outside are an error that says the size."""
    assert explain((1, 1, 5, 6), (1, 1, 3, 3), output=(-1, 1)).output == (2, 1)
    with pytest.raises(ValueError, match=r"\(3, 0\).*size \(3, 4\)"):
        explain((1, 1, 5, 6), (1, 1, 3, 3), output=(3, 0))


def test_markdown_has_formula_and_taps():
    """In a notebook the formula comes as LaTeX with balanced brackets, and the taps as a table."""
    text = explain((1, 3, 7, 7), (2, 3, 3, 3), padding=1)._repr_markdown_()
    assert text.count(r"\left\lfloor") == text.count(r"\right\rfloor") == 5
    assert text.count("{") == text.count("}")
    assert text.count("$$") == 2
    assert r"| height | kernel | 0 | 1 | 2 |" in text
    assert r"|  | input | -1\* | 0 | 1 |" in text


# ---- receptive fields ----------------------------------------------------------------------------

STACKS = [
    [3],
    [3, 3, {"kernel_size": 2, "stride": 2}, 3],
    [{"kernel_size": 5, "stride": 3, "padding": 2}, {"kernel_size": 3, "dilation": 2}],
    [{"kernel_size": 3, "padding": "same"}, {"kernel_size": 4, "padding": "same_lower"}],
    [{"kernel_size": 3, "stride": 2, "transposed": True}],
    [
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1, "transposed": True},
        3,
    ],
    [
        {"kernel_size": 4, "stride": 3, "transposed": True},
        {"kernel_size": 2, "stride": 2},
        {"kernel_size": 3, "stride": 2, "dilation": 2, "transposed": True},
    ],
]


def inputs_seen(stack, n=64):
    """First and last of n inputs that each output of the stack depends on."""
    responses = np.eye(n)[:, None, :]
    for layer in stack:
        options = dict(layer) if isinstance(layer, dict) else {"kernel_size": layer}
        w = np.ones((1, 1, options.pop("kernel_size")))
        conv = convlab.conv_transpose1d if options.pop("transposed", False) else convlab.conv1d
        responses = conv(responses, w, **options)
    seen = responses[:, 0, :] != 0
    return [
        (int(column.argmax()), n - 1 - int(column[::-1].argmax())) if column.any() else None
        for column in seen.T
    ]


@pytest.mark.parametrize("stack", STACKS, ids=range(len(STACKS)))
def test_receptive_field_is_what_outputs_depend_on(stack):
    """Size and jump equal those of real stacks of convolutions, far from the borders."""
    field = receptive_field(stack)
    spans = inputs_seen(stack)
    quarter = len(spans) // 4
    inner = [span for span in spans[quarter:-quarter] if span]
    assert field.size == (max(last - first + 1 for first, last in inner),)
    period = field.jump[0].denominator * 6
    a, b = spans[quarter], spans[quarter + period]
    assert b[0] - a[0] == period * field.jump[0]


def test_start_counts_the_padding():
    """Without padding output 0 begins at input 0; padding moves the start before it."""
    stack = [{"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 5, "padding": 2}]
    field = receptive_field(stack)
    assert field.start == (-1 - 2 * 2,)
    unpadded = receptive_field([{"kernel_size": 3, "stride": 2}, 5])
    assert unpadded.start == (0,)
    # The first output whose whole field lies inside is the first that padding does not change.
    inner = next(o for o in itertools.count() if field.start[0] + o * field.jump[0] >= 0)
    spans = inputs_seen(stack)
    assert spans[inner][0] == field.start[0] + inner * field.jump[0]


def test_axes_are_separate():
    """Rectangular kernels and strides have a field per axis, and the table shows both."""
    field = receptive_field([{"kernel_size": (3, 5), "stride": (1, 2)}, 3])
    assert field.size == (5, 9)
    assert field.jump == (1, 2)
    assert str(field).splitlines()[-1].endswith("5 x 9  1 x 2  0 x 0")
    assert "| 5 x 9 | 1 x 2 | 0 x 0 |" in field._repr_markdown_()


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ([], ValueError, "at least one layer"),
        ([{"kernel": 3}], TypeError, "needs kernel_size"),
        ([{"kernel_size": (3, 3)}, {"kernel_size": (3,)}], ValueError, "the same for all"),
        ([{"kernel_size": 3, "stride": 2, "padding": "same"}], ValueError, "depends on the size"),
        ([2.5], TypeError, "kernel_size must be an int"),
    ],
)
def test_wrong_layers(layers, error, message):
    """Layers that cannot be read are refused by name."""
    with pytest.raises(error, match=message):
        receptive_field(layers)


@pytest.mark.parametrize("argument", [{"output_padding": 1}, {"output_size": 4}])
def test_convolutions_have_no_output_padding(argument):
    """What only a transposed convolution takes is refused, not passed over in silence."""
    with pytest.raises(ValueError, match="need transposed=True"):
        explain((1, 1, 4), (1, 1, 3), **argument)


def test_long_axes_are_shortened():
    """Of many taps along an axis the first and the last are written, and the gap between shown."""
    found = explain((1, 1, 40), (1, 1, 30), output=5)
    row = next(line for line in str(found).splitlines() if "..." in line)
    assert row.split()[-1] == "29"
    assert "| ... | 29 |" in found._repr_markdown_()
    assert len(found.taps) == 30


def test_an_empty_output_has_no_element_to_explain():
    """A call that gives an empty array works; its shape is said, and there are no taps."""
    found = explain((1, 1, 1), (1, 1, 2), padding=1, transposed=True)
    assert found.ok
    assert found.output_shape == (1, 1, 0)
    assert found.taps == ()
    assert str(found).endswith("Output shape: (1, 1, 0)")
    assert found._repr_markdown_().endswith("**Output shape:** (1, 1, 0)")


def test_a_prompt_shows_the_report():
    """`repr` is the text, for an explanation that fails as well as for a receptive field."""
    found = explain((1, 1, 4), (1, 1, 9))
    field = receptive_field([3])
    assert repr(found) == str(found)
    assert found.channels_read == 0
    assert repr(field) == str(field)
