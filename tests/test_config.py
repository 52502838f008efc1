"""Threads, environment variables, configuration, and what the package shows of itself."""

import inspect
import os
import pydoc
import subprocess
import sys

import pytest

import convlab
from convlab import _config

pytestmark = pytest.mark.usefixtures("restore_threads")


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess:
    """Run code in an interpreter of its own, with these of the variables that convlab reads."""
    read = ("CONVLAB_NUM_THREADS", "OMP_NUM_THREADS", "CONVLAB_ISA")
    others = {name: value for name, value in os.environ.items() if name not in read}
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, "-c", code],
        env=others | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def threads_with(**environment: str) -> int:
    done = run_python("import convlab; print(convlab.get_num_threads())", **environment)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_set_and_get_threads():
    """The number set is the number got."""
    for n in (1, 3, 2):
        convlab.set_num_threads(n)
        assert convlab.get_num_threads() == n


def test_num_threads_restores():
    """The context manager sets the number inside and restores it, also after an exception."""
    convlab.set_num_threads(2)
    with convlab.num_threads(3):
        assert convlab.get_num_threads() == 3
        with convlab.num_threads(1):
            assert convlab.get_num_threads() == 1
        assert convlab.get_num_threads() == 3
    assert convlab.get_num_threads() == 2
    with pytest.raises(KeyError), convlab.num_threads(5):
        raise KeyError
    assert convlab.get_num_threads() == 2


@pytest.mark.parametrize(
    ("n", "error"),
    [(0, ValueError), (-1, ValueError), (2**31, ValueError), (2**70, ValueError)]
    + [(value, TypeError) for value in (True, 1.0, "1", None)],
)
def test_bad_numbers_of_threads(n, error):
    """Bad numbers are refused by both, and change nothing."""
    before = convlab.get_num_threads()
    with pytest.raises(error, match=r"^set_num_threads: n "):
        convlab.set_num_threads(n)
    with pytest.raises(error, match=r"^num_threads: n "), convlab.num_threads(n):
        pass
    assert convlab.get_num_threads() == before


def test_threads_from_the_environment():
    """CONVLAB_NUM_THREADS first, then OMP_NUM_THREADS, then the cores this process may use."""
    assert threads_with(CONVLAB_NUM_THREADS="3", OMP_NUM_THREADS="5") == 3
    assert threads_with(OMP_NUM_THREADS="5") == 5
    assert threads_with(OMP_NUM_THREADS="4,2") == 4
    if hasattr(os, "sched_getaffinity"):
        assert threads_with(CONVLAB_NUM_THREADS="") == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "99999999999"])
def test_bad_thread_variable(value):
    """A CONVLAB_NUM_THREADS that is no number is an error at import, which says so."""
    done = run_python("import convlab", CONVLAB_NUM_THREADS=value)
    assert done.returncode != 0
    assert f"CONVLAB_NUM_THREADS must be a whole number >= 1, got '{value}'" in done.stderr


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"CONVLAB_NUM_THREADS": " 3 ", "OMP_NUM_THREADS": "5"}, 3),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"OMP_NUM_THREADS": "0"}, 7),
        ({"OMP_NUM_THREADS": "many"}, 7),
        ({"CONVLAB_NUM_THREADS": ""}, 7),
    ],
)
def test_precedence_of_thread_variables(environment, threads, monkeypatch):
    """What is not ours and cannot be read leaves the number of cores; blanks do not count."""
    monkeypatch.setattr(_config, "_usable_cores", lambda: 7)
    assert _config._default_threads(environment) == threads


@pytest.mark.parametrize(("cores", "threads"), [(6, 6), (None, 1)])
def test_cores_where_affinity_is_unknown(cores, threads, monkeypatch):
    """Systems without affinity count their cores; at the worst there is one."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert _config._usable_cores() == threads


@pytest.mark.parametrize("variable", ["CONVLAB_NUM_THREADS", "CONVLAB_ISA"])
def test_refused_variable_changes_nothing(variable):
    """A variable that cannot be obeyed is named, and threads and instruction set stay."""
    before = convlab.get_num_threads(), convlab._core.config()["isa"]
    environment = {"CONVLAB_ISA": before[1], variable: "mmx"}
    with pytest.raises(ImportError, match=variable):
        _config.configure(environment)
    assert (convlab.get_num_threads(), convlab._core.config()["isa"]) == before


def test_unknown_attribute():
    """A misspelt name is an AttributeError that names it, not an import."""
    with pytest.raises(AttributeError, match="no attribute 'conv4d'"):
        convlab.conv4d  # noqa: B018


def test_isa_variable():
    """CONVLAB_ISA selects; an unavailable one is an ImportError that names what there is."""
    code = "from convlab import _core; import convlab; print(_core.config()['isa'])"
    done = run_python(code, CONVLAB_ISA="generic")
    assert done.stdout.split() == ["generic"], done.stderr
    done = run_python("import convlab", CONVLAB_ISA="mmx")
    assert done.returncode != 0
    assert "ImportError: CONVLAB_ISA=mmx is not available here; choose among" in done.stderr
    assert "generic" in done.stderr


def test_show_config(capsys):
    """It prints version, instruction sets, threads and compiler."""
    convlab.set_num_threads(3)
    assert convlab.show_config() is None
    printed = capsys.readouterr().out
    assert printed.startswith(f"convlab {convlab.__version__}\n")
    for word in ("instruction set", "built", "generic", "threads          3", "compiler"):
        assert word in printed


# ---- what users see of the package ---------------------------------------------------------------

FUNCTIONS = [
    f"{stem}{nd}d{kind}"
    for stem in ("conv", "conv_transpose")
    for nd in (1, 2, 3)
    for kind in ("", "_backward", "_grad_input", "_grad_weight")
]


def test_public_names():
    """Tab completion shows what is public and nothing else, and all of it is there."""
    assert set(FUNCTIONS) < set(dir(convlab))
    assert not [name for name in dir(convlab) if name.startswith("_") and name != "__version__"]
    for name in convlab.__all__:
        assert getattr(convlab, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        convlab.no_such_name  # noqa: B018


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_present_themselves(name):
    """Each function knows its name, its module and its shapes, and help() shows its signature."""
    function = getattr(convlab, name)
    assert (function.__name__, function.__qualname__, function.__module__) == (
        name,
        name,
        "convlab",
    )
    text = pydoc.plain(pydoc.render_doc(function))
    assert f"{name}(" in text
    assert "$" not in text
    for heading in ("Parameters", "Returns", "Raises", "Examples"):
        assert heading in text
    for parameter in inspect.signature(function).parameters:
        assert parameter in function.__doc__
