"""Every instruction set that this machine has computes the whole table."""

import subprocess
import sys

import numpy as np
import pytest
from cases import CASES
from oracle import OPERATIONS, Problem, integer_operands, problems, same_bits

from convlab import _core

AVAILABLE = tuple(_core.config()["available"])


@pytest.fixture(params=AVAILABLE)
def isa(request, restore_isa) -> str:
    assert _core.select_isa(request.param)
    assert _core.config()["isa"] == request.param
    return request.param


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operations(case, isa):
    """Each instruction set's results are torch's, in both layouts and dtypes."""
    for problem in problems(case):
        for operation in OPERATIONS:
            problem.check(operation, problem.compute(operation))


@pytest.mark.parametrize("case", CASES[::3], ids=str)
def test_integers_are_the_same_on_all(case, restore_isa):
    """Where every sum is exact, instruction sets cannot differ in a single bit."""
    x, w, b, dy = integer_operands(case)
    problem = Problem(case, "float32")
    results = []
    for name in AVAILABLE:
        assert _core.select_isa(name)
        results.append(
            (problem.forward(x, w, b), problem.grad_input(dy, w), problem.grad_weight(dy, x))
        )
    for others in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], others, strict=True))


def test_there_is_always_the_generic_one():
    """Whatever the machine, plain C is there; what is available was built."""
    config = _core.config()
    assert "generic" in config["available"]
    assert set(config["available"]) <= set(config["built"])
    assert config["isa"] in config["available"]


def test_best_is_chosen_and_unknown_refused(restore_isa):
    """None selects the first available; an unknown name is refused and changes nothing."""
    assert _core.select_isa("generic")
    assert not _core.select_isa("abacus")
    assert _core.config()["isa"] == "generic"
    assert _core.select_isa(None)
    assert _core.config()["isa"] == AVAILABLE[0]


PROGRAM = """
import sys
import numpy as np
import convlab
from convlab import _core

generator = np.random.default_rng(1)
x = generator.standard_normal((2, 9, 15, 15), "float32")
w = generator.standard_normal((17, 9, 3, 3), "float32")
sys.stdout.buffer.write(_core.config()["isa"].encode() + b"\\n" + convlab.conv2d(x, w).tobytes())
"""


@pytest.mark.parametrize("name", AVAILABLE)
def test_environment_variable_selects(name, restore_isa, clean_environment):
    """CONVLAB_ISA chooses at import what select_isa chooses at run time."""
    environment = clean_environment | {"CONVLAB_ISA": name}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr.decode()
    used, _, result = done.stdout.partition(b"\n")
    assert used.decode() == name

    assert _core.select_isa(name)
    generator = np.random.default_rng(1)
    x = generator.standard_normal((2, 9, 15, 15), "float32")
    w = generator.standard_normal((17, 9, 3, 3), "float32")
    y = np.empty((2, 17, 13, 13), "float32")
    _core.forward(y, x, w, None, (1, 1), (0, 0), (1, 1), 1, False, False)
    assert same_bits(y, np.frombuffer(result, "float32").reshape(y.shape))


def test_environment_variable_with_an_unknown_name(clean_environment):
    """A CONVLAB_ISA that cannot be had is an error that names it, not another choice."""
    done = subprocess.run(
        [sys.executable, "-c", "import convlab"],
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environment | {"CONVLAB_ISA": "abacus"},
    )
    assert done.returncode != 0
    assert "CONVLAB_ISA" in done.stderr
    assert "abacus" in done.stderr
