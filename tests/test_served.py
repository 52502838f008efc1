"""Public functions that the C core serves look and behave like the Python functions they are."""

import copy
import gc
import inspect
import pickle
import weakref

import numpy as np
import pytest

import convlab
from convlab import _core

STEMS = ("conv{}d", "conv_transpose{}d")
NAMES = [
    stem.format(nd) + ending
    for nd in (1, 2, 3)
    for stem in STEMS
    for ending in ("", "_grad_input", "_grad_weight")
]
every_name = pytest.mark.parametrize("name", NAMES)


@every_name
def test_a_served_function_looks_like_its_python_function(name):
    """What help(), inspect, pickle and decorators ask for, answered as a function answers."""
    function = getattr(convlab, name)
    python = function.__wrapped__
    assert type(function) is _core.Served
    assert inspect.isfunction(python)
    assert callable(function)
    assert inspect.isroutine(function)
    assert inspect.signature(function) == inspect.signature(python)
    assert inspect.getdoc(function) == inspect.getdoc(python)
    assert inspect.getsource(function) == inspect.getsource(python)
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__", "__kwdefaults__"):
        assert getattr(function, attribute) == getattr(python, attribute)
    assert (function.__module__, function.__qualname__) == ("convlab", name)
    assert repr(function).startswith(f"<function {name} at ")
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.copy(function) is copy.deepcopy(function) is function
    assert weakref.ref(function)() is function
    assert len({function: 1, python: 2}) == 2


def test_attributes_are_set_on_the_python_function():
    """A served function has no attributes of its own."""
    function = convlab.conv2d
    function.note = "kept"
    assert function.__wrapped__.note == "kept"
    assert vars(function) == {"note": "kept"}
    del function.note
    assert not hasattr(function, "note")
    with pytest.raises(AttributeError, match="'function' object has no attribute 'missing'"):
        function.missing  # noqa: B018
    with pytest.raises(AttributeError):
        function.__wrapped__ = None


def test_a_served_function_in_a_class_is_a_method():
    """As every function is: the object comes first."""

    class Layer:
        apply = convlab.conv1d

    layer = Layer()
    assert Layer.apply is convlab.conv1d
    assert layer.apply.__self__ is layer
    with pytest.raises(TypeError, match="conv1d: x has dtype object"):
        layer.apply(np.ones((1, 1, 3)))


def _operands(name):
    """Give the arrays of a call, whose windows are 3 wide and step by 2."""
    transposed = "transpose" in name
    forward = name.partition("_grad")[0]
    nd = int(forward[-2])
    rng = np.random.default_rng(nd)
    x = rng.standard_normal((2, 4 if transposed else 2, *(7,) * nd))
    w, b = rng.standard_normal((4, 2, *(3,) * nd)), rng.standard_normal(2 if transposed else 4)
    y = getattr(convlab, forward)(x, w, stride=2)
    if name.endswith("grad_input"):
        return (y, w) if transposed else (y, w, x.shape)
    return (y, x, (3,) * nd) if name.endswith("grad_weight") else (x, w, b)


@every_name
def test_both_ways_agree_bit_for_bit(name):
    """Served or left to Python, by position or by name, in any order: one result."""
    function, operands = getattr(convlab, name), _operands(name)
    names = list(inspect.signature(function).parameters)
    expected = function.__wrapped__(*operands, stride=2)
    by_name = dict(zip(names, operands, strict=False))
    last = names[len(operands) - 1]
    no_constant = "".join(["str", "ide"])  # a name that the compiler has not interned
    for result in (
        function(*operands, stride=2),
        function(*operands, groups=1, padding=0, stride=2, layout="channels_first", out=None),
        function(*operands, **{no_constant: 2}),
        function(stride=2, **by_name),
        function(*operands[:-1], stride=2, **{last: operands[-1]}),
    ):
        np.testing.assert_array_equal(result, expected)
    if "transpose" in name:
        default = inspect.signature(function).parameters["output_padding"].default
        for extra in ({"output_padding": default}, {"output_padding": 0}, {"output_size": None}):
            np.testing.assert_array_equal(function(*operands, stride=2, **extra), expected)


@pytest.mark.parametrize("extra", [0, 1, (1, 0)], ids=str)
def test_output_padding_is_served(extra):
    """Extra rows are computed in a served call as in any other, and gradients take them as told."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 3, 4)), rng.standard_normal((3, 2, 3, 3))
    options = {"stride": 2, "output_padding": extra}
    y = convlab.conv_transpose2d(x, w, **options)
    np.testing.assert_array_equal(y, convlab.conv_transpose2d(x.tolist(), w, **options))
    dx = convlab.conv_transpose2d_grad_input(y, w, **options)
    np.testing.assert_array_equal(dx, convlab.conv_transpose2d_grad_input(y.tolist(), w, **options))
    dw = convlab.conv_transpose2d_grad_weight(y, x, 3, **options)
    np.testing.assert_array_equal(
        dw, convlab.conv_transpose2d_grad_weight(y.tolist(), x, 3, **options)
    )


def test_an_output_padding_that_is_wrong_is_an_error_that_says_so():
    """One that is too large, or that the shapes contradict, is left to Python, which names it."""
    x, w = np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3))
    y = convlab.conv_transpose2d(x, w, stride=2, output_padding=1)
    with pytest.raises(ValueError, match="output_padding"):
        convlab.conv_transpose2d(x, w, stride=2, output_padding=2)
    with pytest.raises(ValueError, match="dy"):
        convlab.conv_transpose2d_grad_weight(y, x, 3, stride=2, output_padding=0)
    with pytest.raises(ValueError, match="conv_transpose2d_grad_input"):
        convlab.conv_transpose2d_grad_input(y, w, stride=2, output_padding=0)


X, W = np.ones((1, 1, 4)), np.ones((1, 1, 3))
WRONG = {
    "no arrays": lambda f: f(),
    "one array": lambda f: f(X),
    "too many": lambda f: f(X, W, None, 1),
    "unknown name": lambda f: f(X, W, strides=2),
    "twice": lambda f: f(X, W, None, b=None),
    "another function's": lambda f: f(X, W, output_padding=0),
    "another function's too": lambda f: f(X, W, kernel_size=3),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_python_s_errors(call):
    """The message is that of the Python function."""
    with pytest.raises(TypeError) as python:
        call(convlab.conv1d.__wrapped__)
    with pytest.raises(TypeError) as served:
        call(convlab.conv1d)
    assert str(served.value) == str(python.value)


def test_a_bias_is_no_argument_of_a_gradient():
    """Names are those of the function that is called."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'b'"):
        convlab.conv1d_grad_input(np.ones((1, 1, 2)), W, (1, 1, 4), b=None)


@pytest.mark.parametrize(
    "arguments",
    [(), (len,), (None, 1, 0, False), (len, 0, 0, False), (len, 4, 0, False), (len, 1, 3, False)],
    ids=str,
)
def test_a_malformed_served_function_is_a_type_error(arguments):
    """The binding serves only what it knows."""
    with pytest.raises(TypeError):
        _core.Served(*arguments)


def test_served_functions_are_collected():
    """A cycle through one is found: its function refers to it by name."""

    def make():
        def function(*arguments):
            return served, arguments

        served = _core.Served(function, 1, 0, False)
        assert served("not", "common")[1] == ("not", "common")
        return weakref.ref(served)

    reference = make()
    gc.collect()
    assert reference() is None
