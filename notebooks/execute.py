"""Execute the notebooks in place, so that who only reads them sees their results.

``python notebooks/execute.py`` executes all of them, ``python notebooks/execute.py NAME.ipynb ...``
those named. It needs the packages of ``pip install "convlab[notebooks]"``.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parent
NOTHING: Mapping[str, str] = MappingProxyType({})
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebooks() -> list[Path]:
    """Return the notebooks, in their order of reading."""
    return sorted(FOLDER.glob("*.ipynb"))


def executed(path: Path, env: Mapping[str, str] = NOTHING) -> NotebookNode:
    """Execute a notebook from top to bottom, in a kernel of its own.

    The kernel computes on one thread: small problems gain nothing from more, and times stay honest
    where cores are busy.

    Parameters
    ----------
    path : pathlib.Path
        The notebook, which is only read.
    env : mapping of str to str
        Environment variables for the kernel, besides those of this process.

    Returns
    -------
    NotebookNode
        The notebook with its outputs, and with nothing in it that tells when or where it ran.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        coalesce_streams=True,
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    client.execute(env=os.environ | {"OMP_NUM_THREADS": "1"} | dict(env))
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = NotebookNode()
        for output in cell.get("outputs", []):
            output.pop("transient", None)
            if "metadata" in output:
                output.metadata = NotebookNode()
    nbformat.validate(notebook)
    return notebook


def main(names: Iterable[str]) -> None:
    """Execute the notebooks named, or all, and write them back."""
    for path in [Path(name) for name in names] or notebooks():
        nbformat.write(executed(path), path)
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
