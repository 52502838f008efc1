"""What help(), signatures and tab completion show of convlab."""

import inspect
import pydoc
import re
import rlcompleter
from pathlib import Path

import pytest

import convlab
import convlab.lessons

MATH = Path(__file__).resolve().parent.parent / "docs" / "math.md"

MODULES = (
    convlab,
    convlab.plot,
    *(getattr(convlab.lessons, name) for name in convlab.lessons.__all__),
)
NAMES = [(module, name) for module in MODULES for name in module.__all__]
# Made by functions, never by users.
RETURNED = ("Cache", "ConvAnimation")
# Neither formula nor sum of products: threads, rearrangements, pictures.
WITHOUT_FORMULA = (
    "column_vector",
    "downsample",
    "get_num_threads",
    "num_threads",
    "rotate180",
    "set_num_threads",
    "show_config",
    "upsample",
    "zero_pad",
    *RETURNED,
    *convlab.plot.__all__,
)

every_name = pytest.mark.parametrize(
    ("module", "name"), NAMES, ids=[f"{module.__name__}.{name}" for module, name in NAMES]
)


def sections(module, name):
    """Split a docstring into its sections; what stands before the first is under ""."""
    text = inspect.getdoc(getattr(module, name)) or ""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", text, flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def parameters(module, name):
    return inspect.signature(getattr(module, name)).parameters


@every_name
def test_docstring_opens_with_one_sentence(module, name):
    """The line that completion and overviews show is whole."""
    first, _, rest = sections(module, name)[""].partition("\n")
    assert first.endswith("."), first
    assert not rest or rest.startswith("\n"), "a blank line follows it"


@every_name
def test_docstring_has_its_sections(module, name):
    """What goes in, what comes out, what can fail, and an example, wherever there is one."""
    found = sections(module, name)
    if name in RETURNED:
        return
    given = parameters(module, name)
    if given:
        assert "Raises" in found
        named = re.findall(r"^([\w*, ]+?)(?: :.*)?$", found["Parameters"], re.MULTILINE)
        assert {part for line in named for part in line.split(", ")} >= set(given)
    returned = inspect.signature(getattr(module, name)).return_annotation
    if not inspect.isclass(getattr(module, name)) and returned not in (None, "None"):
        assert "Returns" in found
    assert ">>> " in found["Examples"]


@every_name
def test_docstring_says_where_its_formula_comes_from(module, name):
    """A user can look the derivation up, under numbers that exist."""
    text = inspect.getdoc(getattr(module, name))
    cited = re.findall(r"\((\d+a?)\)", sections(module, name).get("Notes", ""))
    if name in WITHOUT_FORMULA:
        return
    assert "docs/math.md" in text
    assert cited
    assert set(cited) <= set(re.findall(r"\\tag\{(\w+)\}", MATH.read_text(encoding="utf-8")))


@every_name
def test_help_shows_no_machinery(module, name):
    """Signatures and prose hold public names, with no template or type spelt out over lines."""
    thing = getattr(module, name)
    text = inspect.getdoc(thing)
    assert not re.search(r"(?<![\w\[\]])_[a-z]\w*", text)
    assert "$" not in text
    assert "numpy._typing" not in str(inspect.signature(thing))
    assert "<locals>" not in thing.__qualname__
    assert name in pydoc.render_doc(thing, renderer=pydoc.plaintext)


def test_ranks_differ_in_their_axes_alone():
    """Functions that are written once for every rank speak of the rank that they have."""
    for nd, axes in ((1, "W"), (2, "H, W"), (3, "D, H, W")):
        text = pydoc.render_doc(getattr(convlab, f"conv{nd}d"), renderer=pydoc.plaintext)
        assert f"shape (N, C_in, {axes}) or (N, {axes}, C_in)" in text
        assert f"conv{nd}d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1" in text
        assert f"conv_transpose{nd}d" in text
        assert not re.search(rf"conv(_transpose)?[^{nd}]d", text)


def test_completion_offers_public_names_alone():
    """Tab after ``convlab.`` lists what the documentation lists, and no helper."""
    public = {*convlab.__all__, "lessons", "plot"}
    assert set(dir(convlab)) == public | {"__version__"}
    offered = rlcompleter.Completer({"convlab": convlab}).attr_matches("convlab.")
    assert {re.sub(r"\W.*", "", text.removeprefix("convlab.")) for text in offered} == public


def test_every_public_name_is_there():
    """Each name of __all__ can be imported, once, in order."""
    for module in MODULES:
        assert len(set(module.__all__)) == len(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)
        assert sorted(module.__all__) == list(module.__all__)
