"""ONNX's own test cases of Conv and ConvTranspose, computed through convlab.

Two collections come with the onnx package: the node cases of the operator specification, which are
functions that hand a node with inputs and outputs to `expect`, and the recorded models of the
PyTorch exporter, which are files. The outputs are ONNX's; so are the tolerances (those with which
its backend test runner compares: relative 1e-3, absolute 1e-7).
"""

from pathlib import Path

import numpy as np
import pytest

import convlab

onnx = pytest.importorskip("onnx")

RTOL, ATOL = 1e-3, 1e-7
DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
RECORDED = sorted(
    path
    for folder in ("pytorch-converted", "pytorch-operator")
    for path in (DATA / folder).glob("*[Cc]onv*")
)


def _pairs(pads: list[int]) -> tuple[tuple[int, int], ...]:
    """ONNX lists all paddings before, then all after."""
    half = len(pads) // 2
    return tuple(zip(pads[:half], pads[half:], strict=True))


def _conv(attributes: dict, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    padding = {
        "NOTSET": _pairs(attributes.get("pads", [0] * 2 * (x.ndim - 2))),
        "VALID": "valid",
        "SAME_UPPER": "same",
        "SAME_LOWER": "same_lower",
    }[attributes.get("auto_pad", "NOTSET")]
    return getattr(convlab, f"conv{x.ndim - 2}d")(
        x, w, b, padding=padding, **_common(attributes, x.ndim - 2)
    )


def _common(attributes: dict, nd: int) -> dict:
    return {
        "stride": tuple(attributes.get("strides", [1] * nd)),
        "dilation": tuple(attributes.get("dilations", [1] * nd)),
        "groups": attributes.get("group", 1),
    }


def _conv_transpose(
    attributes: dict, x: np.ndarray, w: np.ndarray, b: np.ndarray | None
) -> np.ndarray:
    """Follow the operator's text: a wanted output_shape, or auto_pad, makes the pads.

    Where the pads for a wanted size come out negative, the missing rows are output padding.
    """
    nd = x.ndim - 2
    common = _common(attributes, nd)
    extra = attributes.get("output_padding", [0] * nd)
    auto_pad = attributes.get("auto_pad", "NOTSET")
    pads = _pairs(attributes.get("pads", [0] * 2 * nd))
    shape = attributes.get("output_shape")
    if shape is None and auto_pad.startswith("SAME"):
        shape = [n * s for n, s in zip(x.shape[2:], common["stride"], strict=True)]
    if shape is not None:
        axes = zip(
            x.shape[2:], w.shape[2:], common["stride"], common["dilation"], extra, strict=True
        )
        whole = [s * (n - 1) + d * (k - 1) + 1 + e for n, k, s, d, e in axes]
        total = [full - wanted for full, wanted in zip(whole, shape, strict=True)]
        pads = tuple(
            (t // 2, t - t // 2) if auto_pad == "SAME_UPPER" else (t - t // 2, t // 2)
            for t in (max(t, 0) for t in total)
        )
        extra = [e + max(-t, 0) for e, t in zip(extra, total, strict=True)]
    function = getattr(convlab, f"conv_transpose{nd}d")
    return function(x, w, b, padding=pads, output_padding=tuple(extra), **common)


OPERATORS = {"Conv": _conv, "ConvTranspose": _conv_transpose}


def _run(node, inputs: list[np.ndarray]) -> np.ndarray:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
    bias = inputs[2] if len(inputs) > 2 else None
    return OPERATORS[node.op_type](attributes, inputs[0], inputs[1], bias)


@pytest.mark.parametrize("operator", ["conv", "convtranspose"])
def test_node_cases(operator, monkeypatch):
    """Every case of the operator specification: pads, auto_pad, output_shape, groups, dilations."""
    import importlib

    module = importlib.import_module(f"onnx.backend.test.case.node.{operator}")
    checked = []

    def expect(node, inputs, outputs, name, **_options):
        y = _run(node, inputs)
        np.testing.assert_allclose(y, outputs[0], RTOL, ATOL, err_msg=name)
        assert y.dtype == outputs[0].dtype, name
        checked.append(name)

    monkeypatch.setattr(module, "expect", expect)
    exporter = {"conv": "Conv", "convtranspose": "ConvTranspose"}[operator]
    for name, export in vars(getattr(module, exporter)).items():
        if name.startswith("export"):
            export()
    assert len(checked) >= 6


def _array(path: Path) -> np.ndarray:
    return onnx.numpy_helper.to_array(onnx.load_tensor(path))


def test_recorded_models_are_there():
    """The files have not moved: the next test has something to test."""
    assert len(RECORDED) >= 25


@pytest.mark.parametrize("folder", RECORDED, ids=lambda path: path.name)
def test_recorded_models(folder):
    """What PyTorch computed when the model was exported."""
    graph = onnx.load(folder / "model.onnx").graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (node,) = graph.node
    data = folder / "test_data_set_0"
    fed = [value.name for value in graph.input if value.name not in values]
    values.update((name, _array(data / f"input_{i}.pb")) for i, name in enumerate(fed))
    y = _run(node, [values[name] for name in node.input])
    np.testing.assert_allclose(y, _array(data / "output_0.pb"), RTOL, ATOL)
