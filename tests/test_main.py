"""``python -m convlab``: its commands do what they say, and fail when they should."""

import re
import subprocess
import sys

import numpy as np
import pytest

import convlab
from convlab import _bench, _check, _core, _demo
from convlab.__main__ import main


def test_module_runs(clean_environment: dict[str, str]) -> None:
    """The module is runnable, in a process of its own, and prints what show_config prints."""
    command = [sys.executable, "-m", "convlab", "info"]
    done = subprocess.run(
        command, env=clean_environment, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.startswith(f"convlab {convlab.__version__}\n")
    assert _core.config()["isa"] in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["info", "more"],
        ["check", "--seed", "x"],
        ["check", "--seed", "-1"],
        ["bench", "--seconds", "-1"],
        ["bench", "--seconds", "nan"],
        ["bench", "--seconds", "long"],
        ["demo", "--epochs", "0"],
    ],
)
def test_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command line ends with status 2 and says how it is used."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: python -m convlab" in capsys.readouterr().err


def test_numbers_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number reaches the command that it was given to."""
    monkeypatch.setattr(_check, "run", lambda seed: 100 + seed)
    monkeypatch.setattr(_demo, "run", lambda output, seed, epochs: (output, seed, epochs))
    assert main(["check", "--seed", "7"]) == 107
    assert main(["demo", "--output", "a.png", "--seed", "0", "--epochs", "1"]) == ("a.png", 0, 1)


def test_info_is_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    """`info` prints what show_config prints, and succeeds."""
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    convlab.show_config()
    assert printed == capsys.readouterr().out


def test_check_passes(capsys: pytest.CaptureFixture[str]) -> None:
    """The self-test passes, shows each operation and instruction set, and restores the latter."""
    before = _core.config()["isa"]
    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in _core.config()["available"]:
        assert name in lines[2].split()
    for operation in _check.OPERATIONS:
        assert any(line.startswith(f"{operation} ") for line in lines)
    assert "passed" in lines[-1]
    assert _core.config()["isa"] == before


@pytest.mark.parametrize("operation", _check.OPERATIONS)
@pytest.mark.parametrize("fault", ["tiny", "nan"])
def test_check_notices(
    operation: str, fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One wrong element in one operation, by 1 in 100,000 or by NaN, fails the self-test."""
    stem, _, gradient = operation.partition("_grad_")
    name = f"{stem}2d" + (f"_grad_{gradient}" if gradient else "")
    right = getattr(convlab, name)

    def wrong(*args: object, **options: object) -> np.ndarray:
        result = right(*args, **options)
        result.flat[-1] = np.nan if fault == "nan" else result.flat[-1] + 1e-5 * abs(result).max()
        return result

    monkeypatch.setattr(convlab, name, wrong)
    assert main(["check"]) == 1
    out = capsys.readouterr().out
    assert "FAILED" in out
    (row,) = re.findall(rf"^{operation} .*$", out, flags=re.MULTILINE)
    assert all(float(number) > _check.TOLERANCE for number in row.split()[1:])


def test_check_covers_every_element() -> None:
    """The reference fills the whole result: its NaN-filled output keeps no NaN."""
    rng = np.random.default_rng(1)
    for problem in _check.PROBLEMS:
        names = []
        for name, computation in _check.computations(problem, "float64", "channels_last", rng):
            assert np.isfinite(_check.error(computation))
            names.append(name)
        assert tuple(names) == _check.OPERATIONS


def test_bench_lists_every_layer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table has a row for each operation of each layer, with positive speeds."""
    small = (
        _bench.Layer("plain", (1, 2, 6, 6), (3, 2, 3, 3)),
        _bench.Layer("transposed", (1, 2, 6, 6), (2, 3, 4, 4), stride=2, transposed=True),
        _bench.Layer("image", (1, 1, 9, 9), (1, 1, 3, 3)),
    )
    monkeypatch.setattr(_bench, "LAYERS", small)
    assert main(["bench", "--seconds", "0"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    for layer in small:
        mine = [row for row in rows if row[:1] == [layer.name]]
        assert [row[1] for row in mine] == ["forward", "dx", "dw"]
        assert all(float(row[2]) > 0 for row in mine)


def test_bench_without_other_libraries(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither PyTorch nor SciPy is needed."""
    for name in ("torch", "scipy.ndimage"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(_bench, "LAYERS", (_bench.Layer("image", (1, 1, 9, 9), (1, 1, 3, 3)),))
    assert main(["bench", "--seconds", "0"]) == 0
    assert "image" in capsys.readouterr().out


def test_bench_compares_equal_results() -> None:
    """What is timed beside convlab computes the same thing."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    layers = (
        _bench.Layer("grouped", (2, 4, 7, 6), (8, 2, 3, 3), groups=2, stride=2),
        _bench.Layer("transposed", (1, 2, 6, 6), (2, 3, 4, 4), stride=2, transposed=True),
    )
    for layer in layers:
        x = rng.standard_normal(layer.x, dtype=np.float32)
        w = rng.standard_normal(layer.w, dtype=np.float32)
        mine, theirs = _bench.ours(layer, x, w), _bench.torchs(torch, layer, x, w)
        expected = {
            "forward": theirs["forward"]().numpy(),
            "dx": theirs["dx"]()[0].numpy(),
            "dw": theirs["dw"]()[1].numpy(),
        }
        for operation, result in expected.items():
            limit = 2 * np.finfo(np.float32).eps * np.sqrt(x.size) * np.abs(result).max()
            assert np.abs(mine[operation]() - result).max() <= limit


def test_flops_count_the_products() -> None:
    """The count of multiplications is that of the formula, forward and transposed."""
    assert _bench.flops(_bench.Layer("a", (2, 4, 5, 5), (6, 2, 3, 3), groups=2)) == (
        2 * (2 * 6 * 5 * 5) * (2 * 3 * 3)
    )
    layer = _bench.Layer("b", (2, 4, 5, 5), (4, 3, 2, 2), stride=2, transposed=True)
    assert _bench.flops(layer) == 2 * (2 * 4 * 5 * 5) * (3 * 2 * 2)


def test_demo_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without scikit-learn the demo ends with status 1 and the command that installs it."""
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert main(["demo"]) == 1
    assert 'pip install "convlab[demo]"' in capsys.readouterr().err
