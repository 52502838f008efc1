"""The notebooks: each runs from top to bottom, and is committed with the outputs of such a run.

What they compute is checked by assertions in their own cells: worked examples exactly, errors
against torch by the length of the sums.
"""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from notebooks.execute import executed, notebooks

LESSONS = notebooks()[:5]
LARGEST_BYTES = 1_000_000
NUMBER = re.compile(r"-?\d[\d.,]*(e[+-]?\d+)?")


def for_each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=[path.stem for path in paths])


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds_of_output(cell: NotebookNode) -> list[list[str]]:
    return [sorted(output.get("data", {output.get("name"): ""})) for output in cell.outputs]


def printed_words(cell: NotebookNode) -> str:
    """Return what a cell prints without its numbers, whose last digits may differ."""
    text = "".join(output.get("text", "") for output in cell.outputs)
    return " ".join(NUMBER.sub(" ", text).split())


def printed(notebook: NotebookNode) -> str:
    """Return all text in the outputs."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return "\n".join(str(output.get("text") or output["data"]["text/plain"]) for output in outputs)


@pytest.fixture
def kernel_environment(clean_environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Let kernels that run at once share no file."""
    folders = ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR")
    return clean_environment | {name: str(tmp_path / name.lower()) for name in folders}


@for_each(notebooks())
def test_it_runs_and_its_committed_outputs_are_current(
    path: Path, kernel_environment: dict[str, str]
) -> None:
    """A cell that fails is an error; a cell whose committed outputs are of another kind is stale.

    Errors include the assertions in the cells: that worked examples come out exactly and that the
    loops, convlab and torch agree to rounding.
    """
    committed = nbformat.read(path, as_version=4)
    fresh = executed(path, kernel_environment)
    for before, after in zip(code_cells(committed), code_cells(fresh), strict=True):
        assert kinds_of_output(before) == kinds_of_output(after), after.source
        assert printed_words(before) == printed_words(after), after.source


@for_each(notebooks())
def test_it_is_committed_as_executed(path: Path) -> None:
    """Who only reads it sees every result, of one run from top to bottom, and no warning."""
    notebook = nbformat.read(path, as_version=4)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {"image/png", "image/jpeg"} & {
        kind for output in outputs for kind in output.get("data", {})
    }
    assert any(output.get("name") == "stdout" for output in outputs)
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert path.stat().st_size < LARGEST_BYTES
    assert notebook.metadata.kernelspec.name == "python3"


@for_each(notebooks())
def test_it_opens_with_what_it_teaches(path: Path) -> None:
    """A reader decides by the first cell whether this is the notebook to read."""
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    number, _ = path.stem.split("_", 1)
    assert first.source.startswith(f"# {number}. ")
    assert "**What you will learn**" in first.source


@for_each(LESSONS)
def test_lessons_print_their_errors_and_how_much_faster_the_kernels_are(path: Path) -> None:
    """What the notebooks that convlab grew out of showed, ours show too."""
    notebook = nbformat.read(path, as_version=4)
    text = printed(notebook)
    assert re.search(r"mean squared.* \d(\.\d)?e-\d\d", text, re.DOTALL)
    assert re.search(r"convlab is about [\d,]+ times as fast", text)
    assert "import torch" in "\n".join(cell.source for cell in code_cells(notebook))


@for_each(notebooks())
def test_nothing_tells_where_it_ran(path: Path) -> None:
    """Outputs are the same on another machine: no path of this one is in them."""
    text = printed(nbformat.read(path, as_version=4))
    for place in (str(Path.home()), os.path.sep + "tmp", "site-packages"):
        assert place not in text
