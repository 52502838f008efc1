"""convlab._core called as nobody should: an exception or an answer, never a crash or a hang.

Python settles meaning before it calls the binding, so none of this can be reached through the
public functions. The binding is memory-safe by itself all the same. A call that may take the
process with it runs in a process of its own.
"""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from convlab import _core

HUGE = (2**31, 2**32, 2**53, 2**62, 2**63 - 1)
TOO_HUGE = (2**63, 2**64, 2**70)
ERRORS = (TypeError, ValueError, OverflowError)


def ones(*shape, dtype="float32"):
    return np.ones(shape, dtype)


class Call:
    """A valid call of one primitive, of which a test spoils one argument."""

    names = ("out", "in1", "in2", "b", "stride", "pad", "dilation", "groups", "last", "transposed")

    def __init__(self, primitive: str, nd: int = 2) -> None:
        self.primitive = primitive
        x, w, y = ones(2, 4, *(5,) * nd), ones(6, 2, *(3,) * nd), ones(2, 6, *(3,) * nd)
        arrays = {"forward": (y, x, w), "grad_input": (x, y, w), "grad_weight": (w, y, x)}
        parameters = ((1,) * nd, (0,) * nd, (1,) * nd, 2, False, False)
        self.arguments = [*arrays[primitive], None, *parameters]

    def __call__(self, **spoiled):
        arguments = list(self.arguments)
        for name, value in spoiled.items():
            arguments[self.names.index(name)] = value
        return getattr(_core, self.primitive)(*arguments)

    def array(self, name: str) -> np.ndarray:
        return self.arguments[self.names.index(name)]


@pytest.fixture(params=["forward", "grad_input", "grad_weight"])
def call(request):
    return Call(request.param)


def test_the_unspoiled_call_is_valid(call):
    """Each refusal below is due to what it spoils."""
    assert call() is None


@pytest.mark.parametrize("name", ["out", "in1", "in2"])
@pytest.mark.parametrize("value", [None, 1, "x", [[1.0]], ()], ids=repr)
def test_an_array_must_be_an_array(call, name, value):
    """Nothing is converted: what is no ndarray is refused."""
    with pytest.raises(TypeError):
        call(**{name: value})


@pytest.mark.parametrize("name", ["out", "in1", "in2"])
@pytest.mark.parametrize(
    "dtype", ["float16", "int32", "int64", "bool", "complex64", "longdouble", "S4", "O", "M8[s]"]
)
def test_dtype_must_be_a_native_one(call, name, dtype):
    """Only float32 and float64 are computed with; the message says which argument it was."""
    array = np.zeros(call.array(name).shape, dtype)
    with pytest.raises(TypeError, match="float32 or float64"):
        call(**{name: array})


@pytest.mark.parametrize("name", ["out", "in1", "in2"])
def test_dtypes_must_agree(call, name):
    """float32 and float64 do not mix."""
    with pytest.raises(TypeError, match="dtype"):
        call(**{name: call.array(name).astype("float64")})


@pytest.mark.parametrize("name", ["out", "in1", "in2"])
def test_byte_order_and_alignment(call, name):
    """Swapped or misaligned memory is refused, not read as something else."""
    array = call.array(name)
    with pytest.raises(ValueError, match="native byte order"):
        call(**{name: array.astype(array.dtype.newbyteorder())})
    memory = np.zeros(array.nbytes + 1, "uint8")
    misaligned = memory[1:].view(array.dtype).reshape(array.shape)
    with pytest.raises(ValueError, match="aligned"):
        call(**{name: misaligned})


def test_strides_must_be_whole_elements():
    """A field of a packed record has strides of half an element; it is refused."""
    records = np.zeros((2, 4, 5, 5), [("value", "float64"), ("rest", "float32")])
    x = records["value"]
    y, w = ones(2, 6, 3, 3, dtype="float64"), ones(6, 4, 3, 3, dtype="float64")
    with pytest.raises(ValueError):
        _core.forward(y, x, w, None, (1, 1), (0, 0), (1, 1), 1, False, False)


def test_a_read_only_output_is_refused(call):
    """Not one element of it is written."""
    out = np.full_like(call.array("out"), 7)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        call(out=out)
    assert (out == 7).all()


def test_read_only_inputs_are_fine(call):
    """Inputs are never written, so they need not be writable."""
    for name in ("in1", "in2"):
        array = call.array(name).copy()
        array.flags.writeable = False
        assert call(**{name: array}) is None


@pytest.mark.parametrize("name", ["out", "in1", "in2"])
@pytest.mark.parametrize("ndim", [0, 1, 2, 5, 6, 32, 64])
def test_rank_must_fit(call, name, ndim):
    """A rank that is neither batched nor unbatched is refused."""
    with pytest.raises(ValueError):
        call(**{name: ones(*(1,) * ndim)})


def _shapes_off_by_one(array):
    for axis, step in itertools.product(range(array.ndim), (-1, 1)):
        shape = list(array.shape)
        shape[axis] += step
        yield axis, tuple(shape)


@pytest.mark.parametrize("name", ["out", "in1", "in2"])
def test_mismatched_channels_and_batches(call, name):
    """Arrays that disagree with one another are refused, each by one element either way.

    Spatial sizes cannot disagree: whatever lies outside x is zero.
    """
    is_weight = name == ("out" if call.primitive == "grad_weight" else "in2")
    if call.primitive == "grad_weight" and name == "in2":
        is_weight = False
    for axis, shape in _shapes_off_by_one(call.array(name)):
        if axis < 2:
            with pytest.raises(ValueError):
                call(**{name: ones(*shape)})
        elif is_weight or min(shape) > 0:
            assert call(**{name: ones(*shape)}) is None


@pytest.mark.parametrize("bias", [1.0, [1.0], "b", ones(6).tolist()], ids=repr)
def test_bias_must_be_an_array_or_none(bias):
    """A bias is not converted either."""
    with pytest.raises(TypeError):
        Call("forward")(b=bias)


@pytest.mark.parametrize("shape", [(0,), (5,), (7,), (6, 1), (1, 6), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("primitive", ["forward", "grad_input"])
def test_bias_must_have_one_element_per_channel(primitive, shape):
    """Its length is that of the output's channels."""
    with pytest.raises(ValueError, match="b must have shape"):
        Call(primitive)(b=ones(*shape))


@pytest.mark.parametrize("name", ["stride", "pad", "dilation"])
@pytest.mark.parametrize(
    "value",
    [None, 1, [1, 1], (1,), (1, 1, 1), (), (1, 1, 1, 1), (1.0, 1), ("1", 1), (None, 1), "ab"],
    ids=repr,
)
def test_parameters_are_tuples_of_ints(call, name, value):
    """One int per spatial axis in a tuple, or a refusal."""
    with pytest.raises(ERRORS):
        call(**{name: value})


@pytest.mark.parametrize("name", ["stride", "dilation"])
@pytest.mark.parametrize("value", [0, -1, -(2**62), -(2**63)])
def test_steps_must_be_positive(call, name, value):
    """A step of zero or less would divide by zero or run backwards."""
    for axis in range(2):
        steps = [1, 1]
        steps[axis] = value
        with pytest.raises(ValueError, match=f"{name} must be at least 1"):
            call(**{name: tuple(steps)})


@pytest.mark.parametrize("groups", [0, -1, 3, 4, 2**31, 2**62, 2**63 - 1, -(2**63)])
def test_groups_must_divide(call, groups):
    """Groups that do not divide the channels, or none at all, are refused."""
    with pytest.raises(ValueError):
        call(groups=groups)


@pytest.mark.parametrize("name", ["stride", "pad", "dilation"])
@pytest.mark.parametrize("value", TOO_HUGE)
def test_what_no_word_holds_overflows(call, name, value):
    """Numbers beyond 64 bits are refused as such."""
    for sign in (1, -1):
        if sign * value != -(2**63):
            with pytest.raises(OverflowError):
                call(**{name: (1, sign * value)})
    with pytest.raises(OverflowError):
        call(groups=value)


class Hostile:
    """An int that is none."""

    def __index__(self):
        raise RuntimeError("no")


class Liar:
    """An index that is no int."""

    def __index__(self):
        return "1"


@pytest.mark.parametrize("name", ["stride", "pad", "dilation", "groups"])
@pytest.mark.parametrize("value", [Hostile(), Liar()], ids=["raises", "lies"])
def test_objects_that_only_pretend(call, name, value):
    """What __index__ raises comes through, and what it makes up is refused."""
    with pytest.raises((RuntimeError, TypeError)):
        call(**{name: value if name == "groups" else (value, 1)})


@pytest.mark.parametrize("count", range(16))
def test_number_of_arguments(count):
    """Too few or too many arguments are refused."""
    for primitive in ("forward", "grad_input", "grad_weight"):
        arguments = (Call(primitive).arguments * 2)[:count]
        if count not in (10, 11):
            with pytest.raises(TypeError):
                getattr(_core, primitive)(*arguments)


PROLOGUE = """
import itertools
import numpy as np
from convlab import _core

ERRORS = (TypeError, ValueError, OverflowError, MemoryError)

def ones(*shape):
    return np.ones(shape, "float32")

def attempt(function, *arguments):
    try:
        function(*arguments)
        return True
    except ERRORS:
        return False
"""

# Each of these programs must end by itself, in order, within the time limit.
DANGEROUS = {
    "bias of no axes": """
for primitive in (_core.forward, _core.grad_input):
    out = ones(1, 1, 3)
    assert not attempt(primitive, out, ones(1, 1, 3), ones(1, 1, 1), np.array(1, "float32"),
                       (1,), (0,), (1,), 1, False, False)
""",
    "huge numbers in every pair of parameters": """
values = [1, 2, 2**31, 2**53, 2**57, 2**58, 2**62, 2**63 - 1]
signed = [0, *values, *(-v for v in values), -2**63]
for x_size, y_size, k in itertools.product((1, 3), (1, 3), (1, 2)):
    x, y, w = ones(1, 1, x_size), ones(1, 1, y_size), ones(1, 1, k)
    for stride, pad, dilation in itertools.product(values, signed, values):
        parameters = (stride,), (pad,), (dilation,), 1, False, False
        for reference in (False, True):
            attempt(_core.forward, y, x, w, None, *parameters, reference)
            attempt(_core.grad_input, x, y, w, None, *parameters, reference)
            attempt(_core.grad_weight, w, y, x, None, *parameters, reference)
""",
    "huge numbers in unfold and fold": """
values = [1, 2, 2**31, 2**53, 2**57, 2**58, 2**62, 2**63 - 1]
signed = [0, *values, *(-v for v in values), -2**63]
for size, positions, k in itertools.product((1, 4), (1, 3), (1, 2)):
    for stride, pad, dilation in itertools.product(values, signed, values):
        x, columns = ones(1, 1, size), ones(1, k, positions)
        parameters = (k,), (positions,), (stride,), (pad,), (dilation,)
        if attempt(_core.unfold, columns, x, *parameters):
            inside = [[0 <= o * stride - pad + t * dilation < size for o in range(positions)]
                      for t in range(k)]
            assert np.array_equal(columns[0], inside), (size, *parameters)
        attempt(_core.fold, x, columns, *parameters)
""",
    "huge numbers with zeros answer as the formula does": """
for stride, pad in itertools.product((1, 2**40, 2**63 - 1), (2**50, -2**50)):
    x, y, w = ones(1, 1, 4), ones(1, 1, 1), ones(1, 1, 1)
    for reference in (False, True):
        y[...] = np.nan
        _core.forward(y, x, w, None, (stride,), (pad,), (1,), 1, False, False, reference)
        assert y == 0
        x[...] = np.nan
        _core.grad_input(x, ones(1, 1, 1), w, None, (stride,), (pad,), (1,), 1, False, False,
                         reference)
        assert not x.any()
        x[...] = 1
""",
    "huge empty axes": """
x = np.empty((1, 1, 2**40, 0), "float32")
y = np.empty((1, 1, 2**40, 0), "float32")
w = ones(1, 1, 1, 1)
parameters = (1, 1), (0, 0), (1, 1), 1, False, False
for reference in (False, True):
    attempt(_core.forward, y, x, w, None, *parameters, reference)
    attempt(_core.grad_input, x, y, w, None, *parameters, reference)
    attempt(_core.grad_weight, w, y, x, None, *parameters, reference)
""",
    "huge empty batches and channels": """
for shape in ((2**40, 0, 5, 5), (0, 2**40, 5, 5), (2**20, 2**20, 0, 5)):
    x, y = np.empty(shape, "float32"), np.empty(shape, "float32")
    w = np.empty((shape[1], 1, 1, 1), "float32") if shape[1] < 2**30 else None
    if w is not None:
        parameters = (1, 1), (0, 0), (1, 1), max(shape[1], 1), False, False
        attempt(_core.forward, y, x, w, None, *parameters)
        attempt(_core.grad_input, x, y, w, None, *parameters)
        attempt(_core.grad_weight, w, y, x, None, *parameters)
""",
    "a huge empty kernel": """
x, y = ones(1, 1, 4, 4), ones(1, 1, 3, 3)
w = np.empty((1, 1, 2**40, 0), "float32")
parameters = (1, 1), (0, 0), (1, 1), 1, False, False
for reference in (False, True):
    attempt(_core.forward, y, x, w, None, *parameters, reference)
    attempt(_core.grad_input, x, y, w, None, *parameters, reference)
    attempt(_core.grad_weight, w, y, x, None, *parameters, reference)
""",
    "grad_bias of huge empty axes": """
for shape in ((1, 1, 2**40, 0), (2**40, 1, 0, 5)):
    attempt(_core.grad_bias, ones(1), np.empty(shape, "float32"), 2, False)
""",
    "unfold and fold of huge empty grids": """
x = ones(1, 1, 4, 4)
for positions in ((2**40, 0), (0, 2**40)):
    columns = np.empty((1, 1, 0), "float32")
    attempt(_core.unfold, columns, x, (1, 1), positions, (1, 1), (0, 0), (1, 1))
    attempt(_core.fold, x, columns, (1, 1), positions, (1, 1), (0, 0), (1, 1))
empty = np.empty((1, 1, 2**40, 0), "float32")
columns = ones(1, 1, 1)
attempt(_core.fold, empty, columns, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1))
attempt(_core.unfold, columns, empty, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1))
""",
    "unfold with sizes whose product overflows": """
x = ones(1, 1, 4, 4)
for a, b in itertools.product((2**31, 2**32, 2**33, 2**62), repeat=2):
    columns = np.empty((1, 0, 0), "float32")
    assert not attempt(_core.unfold, columns, x, (a, b), (1, 1), (1, 1), (0, 0), (1, 1))
    assert not attempt(_core.unfold, columns, x, (1, 1), (a, b), (1, 1), (0, 0), (1, 1))
""",
    "broadcast inputs of huge size": """
x = np.broadcast_to(np.float32(1), (1, 1, 2**40))
y, w = ones(1, 1, 3), ones(1, 1, 2)
_core.forward(y, x, w, None, (2**30,), (0,), (2**20,), 1, False, False)
assert (y == 2).all()
_core.grad_weight(w, y, x, None, (2**30,), (0,), (2**20,), 1, False, False)
assert (w == 6).all()
""",
    "threads": """
for n in (0, -1, 2**31, 2**63, -2**70, None, "2", 1.5):
    assert not attempt(_core.set_num_threads, n)
_core.set_num_threads(2**31 - 1)
x = ones(4, 16, 30, 30)
_core.forward(ones(4, 16, 28, 28), x, ones(16, 16, 3, 3), None, (1, 1), (0, 0), (1, 1), 1, False,
              False)
""",
}


@pytest.mark.parametrize("program", DANGEROUS.values(), ids=DANGEROUS)
def test_dangerous_calls_neither_crash_nor_hang(program, clean_environment):
    """Overflow, empty axes and missing axes: each program ends by itself and in order."""
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + program],
        capture_output=True,
        text=True,
        timeout=30,
        env=clean_environment,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stderr}"


def test_grad_bias_arguments():
    """grad_bias checks its own few."""
    dy = ones(2, 3, 4)
    assert _core.grad_bias(ones(3), dy, 1, False) is None
    for db, nd in (
        (ones(2), 1),
        (ones(3, 1), 1),
        (np.array(1, "float32"), 1),
        (ones(3, dtype="float64"), 1),
        (ones(3), 0),
        (ones(3), 4),
        (ones(3), 3),
        (ones(3), 2**40),
        ([0.0] * 3, 1),
    ):
        with pytest.raises(ERRORS):
            _core.grad_bias(db, dy, nd, False)


@pytest.mark.parametrize("name", [1, b"generic", ["generic"], 1.5, "gen\udc80eric"], ids=repr)
def test_select_isa_takes_a_name(name):
    """What is no text is refused."""
    with pytest.raises((TypeError, UnicodeError)):
        _core.select_isa(name)


def test_views_of_any_stride_compute(call):
    """Negative, zero and large strides are read as they stand."""
    rng = np.random.default_rng(2)
    in1, in2 = (rng.integers(-3, 4, call.array(n).shape).astype("f") for n in ("in1", "in2"))
    expected = np.empty_like(call.array("out"))
    call(out=expected, in1=in1, in2=in2)

    def views(a):
        wide = np.repeat(np.repeat(a, 3, -1), 2, 1)
        yield wide[:, ::2, ..., ::3]
        yield np.ascontiguousarray(a[:, ::-1, ::-1])[:, ::-1, ::-1]
        yield np.asfortranarray(a)

    for a, b in itertools.product(views(in1), views(in2)):
        for out in views(np.full_like(expected, np.nan)):
            call(out=out, in1=a, in2=b)
            assert np.array_equal(out, expected)
    constant = np.broadcast_to(np.float32(2), in1.shape)
    call(out=expected, in1=constant.copy(), in2=in2)
    out = np.full_like(expected, np.nan)
    call(out=out, in1=constant, in2=in2)
    assert np.array_equal(out, expected)


COLUMN_CALLS = {
    "unfold": lambda: [ones(2, 12, 20), ones(2, 3, 5, 6)],
    "fold": lambda: [ones(2, 3, 5, 6), ones(2, 12, 20)],
}


def columns_spoiled(primitive: str) -> list[tuple[int, object]]:
    """Positions of arguments, and what they cannot be."""
    x, columns = (1, 0) if primitive == "unfold" else (0, 1)
    read_only = COLUMN_CALLS[primitive]()[0]
    read_only.flags.writeable = False
    arrays = [
        (x, ones(5, 6)),
        (x, ones(2, 3, 1, 1, 1, 1)),
        (x, ones(3, 3, 5, 6)),
        (x, ones(2, 4, 5, 6)),
        (columns, ones(12, 20)),
        (columns, ones(2, 11, 20)),
        (columns, ones(2, 12, 21)),
        (0, read_only),
    ]
    for place, array in enumerate(COLUMN_CALLS[primitive]()):
        changed = (array.astype("float64"), array.astype("int32"), array.astype(">f4"), [1.0], None)
        arrays += [(place, value) for value in changed]
    numbers = (None, 1, (1,), (1, 1, 1), ("1", 1), (1.0, 1), (2**63, 1))
    return arrays + [(place, value) for place in range(2, 7) for value in numbers]


@pytest.mark.parametrize("primitive", COLUMN_CALLS)
def test_bad_arguments_of_unfold_and_fold(primitive):
    """Each of the seven is checked by itself and against the others."""
    function = getattr(_core, primitive)
    numbers = [(2, 2), (4, 5), (1, 1), (0, 0), (1, 1)]
    assert function(*COLUMN_CALLS[primitive](), *numbers) is None
    least = {2: 1, 3: 0, 4: 1, 6: 1}  # of the kernel, the positions, the stride, the dilation
    low = [(place, (1, value - 1)) for place, value in least.items()]
    for place, value in columns_spoiled(primitive) + low:
        arguments = [*COLUMN_CALLS[primitive](), *numbers]
        arguments[place] = value
        with pytest.raises(ERRORS):
            function(*arguments)
