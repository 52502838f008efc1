"""Objects that raise, lie or never end: an error of the usual kinds, and soon."""

import gc
import itertools
import sys
from collections.abc import Sequence

import numpy as np
import pytest

import convlab

X, W = np.ones((1, 2, 5, 5)), np.ones((3, 2, 2, 2))
Y = np.full((1, 3, 4, 4), 8.0)
ERRORS = (ValueError, TypeError, OverflowError, MemoryError)
PARAMETERS = ("stride", "padding", "dilation", "groups")


def assert_still_right() -> None:
    """Nothing of a refused call is left behind."""
    assert np.array_equal(convlab.conv2d(X, W), Y)


class Index:
    """An ``__index__`` that does as it is told."""

    def __init__(self, act):
        self.act = act

    def __index__(self):
        return self.act()


def _raise(error):
    raise error


def _endlessly():
    return _endlessly()


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize(
    "act",
    [
        *(
            lambda error=error: _raise(error)
            for error in (RuntimeError("no"), KeyError("no"), OSError("no"), StopIteration())
        ),
        lambda: None,
        lambda: 1.0,
        lambda: "1",
        lambda: Index(lambda: 1),
        lambda: 2**70,
        lambda: -1 - 2**31,
        _endlessly,
    ],
)
def test_index(name, act):
    """Whatever ``__index__`` raises or returns, by itself or in a tuple, the argument is named."""
    for value in (Index(act), (Index(act), 1), [1, Index(act)]):
        with pytest.raises(ERRORS, match=f"^conv2d: {name} "):
            convlab.conv2d(X, W, **{name: value})
    assert_still_right()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_programs_passes_through(error):
    """An interrupt that arrives while an argument is read is no bad argument."""
    with pytest.raises(error):
        convlab.conv2d(X, W, stride=Index(lambda: _raise(error())))
    assert_still_right()


@pytest.mark.parametrize("name", PARAMETERS[:3])
def test_index_is_asked_once(name):
    """A number that is another one each time is read once, so the call agrees with itself."""
    numbers = iter((1, 2, 3))
    value = Index(lambda: next(numbers))
    result = convlab.conv2d(X, W, **{name: value})
    assert np.array_equal(result, convlab.conv2d(X, W, **{name: 1}))
    assert next(numbers) == 2


class Endless(Sequence):
    """It says that it has two items and never runs out of them."""

    def __init__(self, length=2):
        self.length, self.given = length, 0

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        return 1

    def __iter__(self):
        while self.given < 100_000:  # enough to tell
            self.given += 1
            yield "input" if self.length == 3 else 1


def test_sequences_that_never_end():
    """No more items are asked for than an argument can have, so that memory does not fill."""
    calls = [
        *(
            lambda value, name=name: convlab.conv2d(X, W, **{name: value})
            for name in PARAMETERS[:3]
        ),
        lambda value: convlab.unfold(X, value),
        lambda value: convlab.conv2d_grad_weight(Y, X, value),
        lambda value: convlab.conv2d_grad_input(Y, W, value),
        lambda value: convlab.conv_output_shape(value, value),
    ]
    for call in calls:
        value = Endless()
        with pytest.raises(ERRORS):
            call(value)
        assert value.given < 1000


def test_needs_that_never_end():
    """The same for the names of gradients, each of which may be given many times."""
    value = Endless(3)
    for needs in (value, itertools.repeat("input")):
        with pytest.raises(ERRORS, match=r"^conv2d_backward: needs "):
            convlab.conv2d_backward(Y, X, W, needs=needs)
    assert value.given < 1000


class Lying(Sequence):
    """Its length, its items and its iterator have nothing to do with one another."""

    def __init__(self, length, items):
        self.length, self.items = length, items

    def __len__(self):
        return self.length if isinstance(self.length, int) else self.length()

    def __getitem__(self, i):
        raise LookupError("no")

    def __iter__(self):
        return iter(self.items)


@pytest.mark.parametrize("name", PARAMETERS[:3])
@pytest.mark.parametrize("length", [-1, 2**70, lambda: _raise(RuntimeError("no")), lambda: "2"])
def test_length(name, length):
    """A ``__len__`` of nonsense is an error or is not asked for; the items are what counts."""
    for items in ((1, 1), (1,), (1, 1, 1)):
        try:
            result = convlab.conv2d(X, W, **{name: Lying(length, items)})
        except ERRORS as error:
            assert f"conv2d: {name}" in str(error)
        else:
            assert np.array_equal(result, convlab.conv2d(X, W, **{name: items}))


class Unprintable:
    """What cannot even be shown in a message."""

    def __repr__(self):
        raise RuntimeError("no")

    __str__ = __repr__


class UnprintableName(str):
    """The same, of the type that names have."""

    __repr__ = __str__ = Unprintable.__repr__


class OwnEquality(str):
    """A string that is equal to nothing without an error, and has no hash."""

    def __eq__(self, other):
        raise RuntimeError("no")

    __hash__ = __ne__ = __eq__


class EqualToAll(str):
    """A string that says it is each of those that it is compared with."""

    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


@pytest.mark.parametrize("kind", [OwnEquality, EqualToAll])
def test_strings_with_an_equality_of_their_own(kind):
    """The characters of a name are what counts."""
    for name in ("padding", "layout"):
        with pytest.raises(ERRORS, match=f"^conv2d: {name} "):
            convlab.conv2d(X, W, **{name: kind("no")})
    with pytest.raises(ERRORS, match=r"^conv2d_backward: needs "):
        convlab.conv2d_backward(Y, X, W, needs=[kind("no")])
    same = convlab.conv2d(X, W, padding=kind("same"), layout=kind("channels_first"))
    assert np.array_equal(same, convlab.conv2d(X, W, padding="same"))
    dx, dw, db = convlab.conv2d_backward(Y, X, W, needs=[kind("bias"), kind("input")])
    assert dw is None
    assert dx.shape == X.shape
    assert db.shape == (3,)


class NamelessType(type):
    """A type that raises where it is asked for its name."""

    @property
    def __name__(cls):
        raise RuntimeError("no")


def _says_it_is(claimed):
    return type("Liar", (), {"__class__": claimed})()


# Made in the test: pytest would ask them what they are.
LIARS = {
    "a type without a name": lambda: NamelessType("Nameless", (), {})(),
    "a class that raises": lambda: _says_it_is(property(lambda self: _raise(RuntimeError("no")))),
    "an array": lambda: _says_it_is(np.ndarray),
    "a number": lambda: _says_it_is(int),
    "a flag": lambda: _says_it_is(bool),
    "a name": lambda: _says_it_is(str),
    "a sequence": lambda: _says_it_is(tuple),
}


@pytest.mark.parametrize("make", LIARS.values(), ids=LIARS.keys())
def test_objects_that_say_they_are_something_else(make):
    """What an object is counts, not what its ``__class__`` says; and its type needs no name."""
    value = make()
    for name in (*PARAMETERS, "layout", "out", "x", "w", "b"):
        with pytest.raises(ERRORS, match=f"^conv2d: {name} "):
            convlab.conv2d(**{"x": X, "w": W} | {name: value})
    with pytest.raises(ERRORS, match=r"^conv2d_backward: needs "):
        convlab.conv2d_backward(Y, X, W, needs=value)
    with pytest.raises(ERRORS, match=r"^conv2d_grad_input: input_shape "):
        convlab.conv2d_grad_input(Y, W, value)
    with pytest.raises(ERRORS, match=r"^conv2d_grad_weight: kernel_size "):
        convlab.conv2d_grad_weight(Y, X, value)
    with pytest.raises(ERRORS, match=r"^set_num_threads: n "):
        convlab.set_num_threads(value)


def test_masked_arrays():
    """Elements that are masked have no value: none is made up. An empty mask hides nothing."""
    masked = np.ma.masked_array(X.copy(), mask=X < 0)
    assert np.array_equal(convlab.conv2d(masked, W), Y)
    masked[0, 0, 0, 0] = np.ma.masked
    with pytest.raises(TypeError, match=r"^conv2d: x is a masked array"):
        convlab.conv2d(masked, W)
    out = np.ma.masked_array(np.zeros_like(Y), mask=Y > 0)
    with pytest.raises(TypeError, match=r"^conv2d: out is a masked array"):
        convlab.conv2d(X, W, out=out)
    assert not out.data.any()


def test_names_that_cannot_be_shown():
    """The same for arguments that must be one of several names."""
    value = UnprintableName("no")
    for name in ("padding", "layout"):
        with pytest.raises(ERRORS, match=f"^conv2d: {name} "):
            convlab.conv2d(X, W, **{name: value})
    for needs in (value, [value]):
        with pytest.raises(ERRORS, match=r"^conv2d_backward: needs "):
            convlab.conv2d_backward(Y, X, W, needs=needs)


def test_values_that_cannot_be_shown():
    """A message about a value does not need the value to be printable."""
    value = Unprintable()
    for name in (*PARAMETERS, "layout", "out", "b"):
        with pytest.raises(ERRORS, match=f"^conv2d: {name} "):
            convlab.conv2d(X, W, **{name: value})
    with pytest.raises(ERRORS, match=r"^conv2d_backward: needs "):
        convlab.conv2d_backward(Y, X, W, needs=value)
    with pytest.raises(ERRORS, match=r"^conv_matrix2d: sparse "):
        convlab.conv_matrix2d(W, X.shape, sparse=value)
    with pytest.raises(ERRORS, match=r"^set_num_threads: n "):
        convlab.set_num_threads(value)
    with pytest.raises(ERRORS, match=r"^Conv2D: "):
        convlab.Conv2D(value, 1)
    assert not convlab.explain(X.shape, W.shape, stride=value).ok
    assert str(convlab.explain(X.shape, W.shape, stride=value))


class Array:
    """An ``__array__`` that does as it is told."""

    def __init__(self, act):
        self.act = act

    def __array__(self, dtype=None, copy=None):
        return self.act()


@pytest.mark.parametrize("name", ["x", "w", "b"])
@pytest.mark.parametrize(
    "act",
    [
        lambda: _raise(RuntimeError("no")),
        lambda: _raise(ZeroDivisionError("no")),
        lambda: None,
        lambda: "abc",
        lambda: [[1.0]],
        lambda: np.ones(X.shape, object),
        _endlessly,
    ],
)
def test_array(name, act):
    """Whatever ``__array__`` raises or returns, the argument is named."""
    arguments = {"x": X, "w": W, "b": np.ones(3)} | {name: Array(act)}
    with pytest.raises(ERRORS, match=f"^conv2d: {name} "):
        convlab.conv2d(**arguments)
    assert_still_right()


class Disguised(np.ndarray):
    """A subclass that says it has another shape, other strides and another dtype."""

    shape = property(lambda self: (1, 3, 4, 4))
    strides = property(lambda self: (8, 8, 8, 8))
    dtype = property(lambda self: np.dtype("f8"))
    ndim = property(lambda self: 4)


@pytest.mark.parametrize("real", [np.zeros(1), np.zeros((1, 3, 2, 2), "f4"), np.zeros((0, 9))])
def test_an_out_in_disguise(real):
    """Nobody writes beyond an array because it says that it is larger than it is."""
    memory = np.full(2 * 64 + real.size, 7, real.dtype)
    inside = memory[64 : 64 + real.size].reshape(real.shape).view(Disguised)
    with pytest.raises(ERRORS):
        convlab.conv2d(X, W, out=inside)
    assert (memory[:64] == 7).all()
    assert (memory[64 + real.size :] == 7).all()


@pytest.mark.parametrize("name", ["x", "w"])
def test_an_input_in_disguise(name):
    """The same for reading: what counts is what the array is."""
    with pytest.raises(ERRORS):
        convlab.conv2d(**{"x": X, "w": W} | {name: np.zeros(3).view(Disguised)})


def test_reshaped_while_arguments_are_read():
    """An argument that changes another array's shape meanwhile makes an error or a right answer."""
    x = np.ones((1, 2, 5, 5))

    def reshape():
        x.shape = (1, 2, 25, 1)
        return W

    with pytest.raises(ValueError, match=r"^conv2d: the kernel of size"):
        convlab.conv2d(x, Array(reshape))


def test_nothing_is_kept():
    """No call, good or bad, keeps a reference to its arguments ."""
    stride, bad = (1, 1), (1, "1")
    b, out = np.ones(3), np.empty_like(Y)
    wrong = np.ones((3, 5, 2, 2))
    held = (X, W, Y, b, out, wrong, stride, bad)

    def count():
        gc.collect()
        return [sys.getrefcount(value) for value in held]

    before = count()
    for _ in range(50):
        convlab.conv2d(X, W, b, stride=stride, out=out)
        convlab.conv2d_backward(Y, X, W, stride=stride)
        for arguments in ({"stride": bad}, {"w": wrong}, {"out": b}, {"padding": 2**31 - 1}):
            with pytest.raises(ERRORS):
                convlab.conv2d(**{"x": X, "w": W, "b": b} | arguments)
    assert count() == before
