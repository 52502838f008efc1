"""Every gradient of every public operation against torch's automatic differentiation."""

import itertools

import numpy as np
import pytest
import torch
from cases import CASES
from oracle import Problem, problems, same_bits
from torch.nn import functional

import convlab

NEEDS = ("input", "weight", "bias")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_backward(case):
    """dx, dw and db of one *_backward call are torch.autograd's."""
    operations = ("grad_input", "grad_weight", "grad_bias")
    for problem in problems(case):
        for operation, gradient in zip(operations, problem.backward(), strict=True):
            problem.check(operation, gradient)


@pytest.mark.parametrize("case", CASES[::25], ids=str)
def test_backward_gives_what_is_needed(case, layout):
    """What `needs` leaves out is None; what it names does not depend on what else it names."""
    problem = Problem(case, "float32", layout)
    everything = problem.backward()
    for count in range(4):
        for needs in itertools.combinations(NEEDS, count):
            gradients = problem.backward(needs=needs)
            for name, gradient, whole in zip(NEEDS, gradients, everything, strict=True):
                if name in needs:
                    assert same_bits(gradient, whole)
                else:
                    assert gradient is None


class _Convolution(torch.autograd.Function):
    """An operation of convlab as torch sees one of its own."""

    @staticmethod
    def forward(ctx, problem, x, w, b):
        ctx.problem = problem
        ctx.save_for_backward(x, w)
        return torch.from_numpy(problem.forward(x.numpy(), w.numpy(), b.numpy()))

    @staticmethod
    def backward(ctx, dy):
        x, w = (saved.numpy() for saved in ctx.saved_tensors)
        needs = tuple(itertools.compress(NEEDS, ctx.needs_input_grad[1:]))
        function = getattr(convlab, f"{ctx.problem.name}_backward")
        gradients = function(dy.numpy(), x, w, needs=needs, **ctx.problem.parameters)
        return None, *(None if g is None else torch.from_numpy(g) for g in gradients)


def _small(case) -> bool:
    return case.products < 3000 and np.prod(case.x_shape()) + np.prod(case.w_shape()) < 250


@pytest.mark.parametrize("case", [case for case in CASES if _small(case)], ids=str)
def test_gradcheck(case, layout):
    """torch.autograd.gradcheck finds the gradients equal to numerical ones of the forward."""
    problem = Problem(case, "float64", layout)
    leaves = [torch.tensor(a, requires_grad=True) for a in (problem.x, problem.w, problem.b)]
    assert torch.autograd.gradcheck(
        lambda x, w, b: _Convolution.apply(problem, x, w, b), leaves, fast_mode=True
    )


@pytest.mark.parametrize("frozen", NEEDS)
@pytest.mark.parametrize("transposed", [False, True])
def test_gradcheck_of_frozen_operands(frozen, transposed):
    """Leaving one gradient out through `needs` leaves the others right."""
    case = next(c for c in CASES if c.name == "pair" and c.transposed == transposed and _small(c))
    problem = Problem(case)
    leaves = [
        torch.tensor(a, requires_grad=name != frozen)
        for name, a in zip(NEEDS, (problem.x, problem.w, problem.b), strict=True)
    ]
    assert torch.autograd.gradcheck(lambda x, w, b: _Convolution.apply(problem, x, w, b), leaves)


WINDOWS = [
    {"kernel_size": (2, 3)},
    {"kernel_size": (3, 2), "stride": (2, 1)},
    {"kernel_size": 2, "padding": 1, "stride": 3},
    {"kernel_size": (2, 2), "dilation": (3, 2), "padding": (0, 2)},
]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_unfold_and_fold_are_each_others_gradient(window, dtype):
    """The gradient of unfold is fold, and that of fold is unfold: both as torch has them."""
    size = (7, 8)
    generator = np.random.default_rng(5)
    x = generator.integers(-9, 10, (2, 3, *size)).astype(dtype)
    tx = torch.from_numpy(x).requires_grad_()
    columns = functional.unfold(tx, **window)
    weights = generator.integers(-9, 10, tuple(columns.shape)).astype(dtype)
    columns.backward(torch.from_numpy(weights))
    assert same_bits(convlab.unfold(x, **window), columns.detach().numpy())
    assert same_bits(convlab.fold(weights, size, **window), tx.grad.numpy())

    tcolumns = torch.from_numpy(weights).requires_grad_()
    functional.fold(tcolumns, size, **window).backward(torch.from_numpy(x))
    assert same_bits(convlab.unfold(x, **window), tcolumns.grad.numpy())
