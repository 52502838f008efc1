"""Compares a lesson with torch: results, every gradient by torch.autograd, and the MSE printed.

The tolerance is the one that `oracle` derives. Its scale and length come from torch too: a lesson's
operation is a sum of products, so the same operation on squares and on ones gives both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from oracle import assert_close

Operation = Callable[..., torch.Tensor]


def autograd(operation: Operation, operands: Sequence, dy) -> list[np.ndarray]:
    """Compute the result and its gradient with respect to each operand, in float64."""
    leaves = [torch.tensor(np.asarray(a, np.float64), requires_grad=True) for a in operands]
    y = operation(*leaves)
    gradients = torch.autograd.grad(y, leaves, torch.tensor(np.asarray(dy, np.float64)))
    return [t.detach().numpy() for t in (y, *gradients)]


def assert_agrees(
    actual: Sequence[np.ndarray | None],
    operation: Operation,
    operands: Sequence,
    dy,
    label: str,
    mse_limit: float = np.inf,
) -> None:
    """Compare a result and its gradients, in the order of the operands; None is not compared."""
    answers = autograd(operation, operands, dy)
    squares = autograd(operation, [np.square(a, dtype=np.float64) for a in operands], np.square(dy))
    lengths = autograd(operation, [np.ones_like(a) for a in operands], np.ones_like(dy))
    names = ("result", *(f"gradient {i}" for i in range(len(operands))))
    assert len(actual) == len(answers)
    for name, got, answer, square, length in zip(
        names, actual, answers, squares, lengths, strict=True
    ):
        if got is None:
            continue
        assert_close(got, answer, np.sqrt(square * length), f"{label}, {name}")
        mse = np.mean((got - answer) ** 2)
        print(f"{label}, {name}: MSE {mse:.1e}")
        assert mse < mse_limit, f"{label}, {name}: MSE {mse}"
