"""What the README shows must run as it stands."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture(scope="module")
def text() -> str:
    return README.read_text(encoding="utf-8")


def test_code_blocks_run(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every Python block runs, in order, as a reader would paste them into one session."""
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    session: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), session)
    # The second block shows an error message: it must have come, in the user's terms.
    assert "conv2d" in capsys.readouterr().out
    for name, shape in {"y": (16, 8, 16, 16), "z": (16, 3, 32, 32)}.items():
        assert session[name].shape == shape


def test_links_lead_somewhere(text: str) -> None:
    """Every relative link names a file of the project."""
    targets = re.findall(r"\]\(([^)#:]+)\)", text)
    assert targets
    missing = [target for target in targets if not (README.parent / target).exists()]
    assert not missing


def test_commands_exist(text: str) -> None:
    """Every make target and every command of the module that the README shows exists."""
    from convlab.__main__ import parser

    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^ {4}make (\w+)", text, flags=re.MULTILINE)
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    commands = re.findall(r"^ {4}python -m convlab (\w+)", text, flags=re.MULTILINE)
    assert {"info", "check", "bench"} <= set(commands)
    for command in commands:
        assert parser().parse_args([command]).command == command
