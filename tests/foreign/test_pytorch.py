"""PyTorch's own sample inputs for its convolutions, computed through convlab.

They are the ones PyTorch checks its operators with (``op_db``). Its module of samples needs the
package expecttest and takes some seconds to import, which one fixture does for all.
"""

import warnings

import numpy as np
import pytest
import torch
from oracle import SAFETY

import convlab

# torch's remark on how it computes "same" with even kernels is about itself.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")

CONVOLUTIONS = [
    f"nn.functional.conv{transposed}{nd}d" for transposed in ("", "_transpose") for nd in (1, 2, 3)
]
# What PyTorch calls an error and convlab gives a meaning.
MEANINGFUL = ("should be the same", "padding='same' is not supported for strided convolutions")
REAL = (torch.float64, torch.float32)
POSITIONAL = {
    False: ("stride", "padding", "dilation", "groups"),
    True: ("stride", "padding", "output_padding", "groups", "dilation"),
}


@pytest.fixture(scope="module")
def operators():
    pytest.importorskip("expecttest")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal import common_methods_invocations as samples
    return {operator.name: operator for operator in samples.op_db}


def _call(name: str, sample) -> np.ndarray:
    """Make the same call, torch's positional arguments by name."""
    function = getattr(convlab, name.removeprefix("nn.functional."))
    weight, bias, *rest = (*sample.args, *[None] * (2 - len(sample.args)))
    options = dict(zip(POSITIONAL["transpose" in name], rest, strict=False)) | sample.kwargs
    x, w, b = (None if t is None else t.detach().numpy() for t in (sample.input, weight, bias))
    return function(x, w, options.pop("bias", b), **options)


def _assert_close(actual: np.ndarray, expected: torch.Tensor, length: int, label: str) -> None:
    """Fail unless within the rounding of sums of `length` products, relative to the largest."""
    assert actual.shape == tuple(expected.shape), label
    assert actual.dtype == expected.numpy().dtype, label
    if actual.size:
        eps = np.finfo(actual.dtype).eps
        scale = np.abs(expected.numpy()).max()
        error = np.abs(actual - expected.numpy()).max()
        assert error <= SAFETY * eps * np.sqrt(length) * scale, label


@pytest.mark.parametrize("dtype", [*REAL, torch.complex64, torch.complex128], ids=str)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_samples(operators, name, dtype):
    """Every sample input of every convolution: also unbatched, empty, "same" and complex ones."""
    operator = operators[name]
    samples = list(operator.sample_inputs("cpu", dtype))
    assert len(samples) >= 5
    for i, sample in enumerate(samples):
        expected = operator(sample.input, *sample.args, **sample.kwargs).detach().resolve_conj()
        length = sample.args[0].numel()
        _assert_close(_call(name, sample), expected, length, f"{name} sample {i}: {sample}")


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_gradients_of_samples(operators, name):
    """The three gradients of every sample."""
    operator = operators[name]
    for i, sample in enumerate(operator.sample_inputs("cpu", torch.float64, requires_grad=True)):
        y = operator(sample.input, *sample.args, **sample.kwargs)
        dy = torch.ones_like(y) + torch.arange(y.numel()).reshape(y.shape) % 3
        tensors = [t for t in (sample.input, *sample.args[:2]) if isinstance(t, torch.Tensor)]
        gradients = torch.autograd.grad(y, tensors, dy)
        rest = dict(zip(POSITIONAL["transpose" in name], sample.args[2:], strict=False))
        function = getattr(convlab, name.removeprefix("nn.functional.") + "_backward")
        options = rest | {k: v for k, v in sample.kwargs.items() if k != "bias"}
        x, w = (t.detach().numpy() for t in tensors[:2])
        ours = function(dy.numpy(), x, w, **options)
        lengths = (w.size, dy.numel(), dy.numel())
        for gradient, expected, length in zip(ours, gradients, lengths, strict=False):
            _assert_close(gradient, expected, length, f"{name} sample {i}: {sample}")


@pytest.mark.parametrize("name", CONVOLUTIONS[:3])
def test_error_inputs(operators, name):
    """What PyTorch calls an error is one here, but for mixed dtypes and strided "same"."""
    refused = 0
    for error in operators[name].error_inputs("cpu"):
        sample = error.sample_input
        if error.error_regex in MEANINGFUL:
            dtypes = [t.numpy().dtype for t in (sample.input, *sample.args)]
            assert _call(name, sample).dtype == np.result_type(*dtypes)
            continue
        with pytest.raises((ValueError, TypeError)):
            _call(name, sample)
        refused += 1
    assert refused >= 5


def test_unfold_samples(operators):
    """Every sample input of unfold, and fold as the way back."""
    operator = operators["nn.functional.unfold"]
    samples = list(operator.sample_inputs("cpu", torch.float64))
    assert len(samples) > 100
    names = ("kernel_size", "dilation", "padding", "stride")
    for i, sample in enumerate(samples):
        options = dict(zip(names, sample.args, strict=False)) | sample.kwargs
        kernel = options.pop("kernel_size")
        x = sample.input.numpy()
        expected = operator(sample.input, *sample.args, **sample.kwargs)
        columns = convlab.unfold(x, kernel, **options)
        assert np.array_equal(columns, expected.numpy()), f"sample {i}: {sample}"
        size = tuple(x.shape[-2:])
        folded = torch.nn.functional.fold(expected, size, kernel, **options)
        ours = convlab.fold(columns, size, kernel, **options)
        length = columns.shape[-2]  # no element lies in more windows than there are taps
        _assert_close(ours, folded, length, f"fold of sample {i}: {sample}")
