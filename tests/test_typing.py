"""Types: what mypy makes of a user's program, and the stubs beside what they describe."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy is not installed")

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PROGRAM = HERE / "typing" / "user_program.py"


def run_mypy(module, folder, *arguments):
    """Run a module of mypy in a folder of its own, with convlab's sources on its path."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"MYPYPATH": str(ROOT), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_strict_mypy_understands_a_users_program(tmp_path):
    """Right calls have the types expected, wrong ones are refused: no more and no fewer errors."""
    done = run_mypy(
        "mypy", tmp_path, "--strict", "--follow-imports=silent", "--no-error-summary", PROGRAM
    )
    found = {
        (int(line), code)
        for line, code in re.findall(r":(\d+): error: .*\[(.+)\]$", done.stdout, re.M)
    }
    expected = {
        (number, code)
        for number, line in enumerate(PROGRAM.read_text().splitlines(), 1)
        for code in re.findall(r"# E: (\S+)$", line)
    }
    assert found == expected, done.stdout + done.stderr


def test_stubs_agree_with_the_modules_they_describe(tmp_path):
    """Every name, argument and default in a stub is there when the module is imported."""
    done = run_mypy(
        "mypy.stubtest",
        tmp_path,
        "convlab",
        "--concise",
        "--mypy-config-file",
        ROOT / "pyproject.toml",
        "--allowlist",
        HERE / "typing" / "stubtest_allowlist.txt",
        "--ignore-unused-allowlist",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_package_says_that_it_is_typed():
    """Without its marker, type checkers take every name of an installed convlab for Any."""
    import convlab

    assert Path(convlab.__file__).with_name("py.typed").is_file()
