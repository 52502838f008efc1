"""Shapes that break convolutions, in the spirit of the lists that oneDNN tests itself with.

Each list is about one thing that implementations get wrong: a window that never meets the image, a
stride that jumps over it, a last tile that is not full, a group of one channel.
"""

import itertools
from collections.abc import Iterable

import pytest
from cases import Case
from oracle import OPERATIONS, problems


def _tiny_images() -> Iterable[Case]:
    for ic, oc, kernel, padding in itertools.product((1, 5), (1, 17), (1, 3, 5), (0, 1, 2, 4)):
        yield Case("1x1-image", ic, oc, (1, 1), (kernel, kernel), n=2, padding=padding)


def _kernel_is_image() -> Iterable[Case]:
    for size in ((1, 1), (2, 3), (5, 5), (7, 4), (13, 1), (1, 13), (11, 11)):
        yield Case("kernel=image", 3, 9, size, size, n=3)
        yield Case("kernel=image", 4, 4, size, size, n=2, groups=4)
        yield Case("kernel=image-same", 2, 3, size, size, padding="same")


def _stride_over_kernel() -> Iterable[Case]:
    for stride, kernel in itertools.product((2, 3, 5, 8, 40), (1, 2, 3)):
        yield Case("stride>kernel", 3, 5, (17, 19), (kernel, kernel), stride=stride)
        yield Case("stride>kernel", 2, 3, (29,), (kernel,), stride=stride, padding=1)


def _primes() -> Iterable[Case]:
    for size, kernel, stride in itertools.product(
        ((13, 17), (19, 7), (23, 2)), ((3, 5), (7, 2)), ((2, 3), (5, 7))
    ):
        yield Case("primes", 7, 11, size, kernel, n=3, stride=stride, padding=(1, 3), dilation=1)


def _tile_boundaries() -> Iterable[Case]:
    for channels in (*range(1, 18), 31, 32, 33, 63, 64, 65):
        yield Case("channels-in", channels, 2, (3, 4), (3, 3), padding=1)
        yield Case("channels-out", 2, channels, (3, 4), (3, 3), padding=1)
        yield Case("pixels", 3, 3, (1, channels), (1, 1), n=2)


def _wide_padding() -> Iterable[Case]:
    for kernel, padding, stride in itertools.product((1, 2, 3), (3, 7, 12), (1, 2, 5)):
        yield Case("padding>kernel", 2, 5, (3, 4), (kernel,) * 2, padding=padding, stride=stride)
    yield Case("padding>kernel", 2, 3, (3, 4), (2, 2), padding=((9, 0), (0, 9)))
    yield Case("padding>kernel", 2, 3, (3, 4), (2, 2), padding=((9, -2), (-3, 9)))


def _wide_dilation() -> Iterable[Case]:
    for dilation, extra in itertools.product((3, 8, 13), (0, 1, 2)):
        yield Case(
            "dilation>image", 3, 4, (5, 4), (3, 3), dilation=dilation, padding=dilation + extra
        )
        yield Case("dilation>image", 2, 2, (3,), (2,), dilation=dilation, padding=dilation)


def _small_groups() -> Iterable[Case]:
    for groups, ic, oc in itertools.product((2, 3, 5, 16), range(1, 6), (1, 2, 3, 5)):
        yield Case("groups", groups * ic, groups * oc, (4, 5), (3, 2), groups=groups, padding=1)


def _depthwise() -> Iterable[Case]:
    for channels, multiplier, stride in itertools.product((1, 3, 8, 17, 32), (1, 2, 3), (1, 2)):
        yield Case(
            "depthwise",
            channels,
            channels * multiplier,
            (6, 7),
            (3, 3),
            groups=channels,
            stride=stride,
            padding=1,
        )


def _thin() -> Iterable[Case]:
    yield Case("thin", 3, 5, (1, 97), (1, 9), padding=(0, 4))
    yield Case("thin", 3, 5, (97, 1), (9, 1), padding=(4, 0))
    yield Case("thin", 3, 5, (1, 1, 61), (1, 1, 5), stride=(1, 1, 3))
    yield Case("thin", 3, 5, (61, 1, 1), (5, 1, 1), stride=(3, 1, 1))
    yield Case("thin", 1, 1, (509,), (127,), dilation=4)


CASES = [
    case
    for family in (
        _tiny_images,
        _kernel_is_image,
        _stride_over_kernel,
        _primes,
        _tile_boundaries,
        _wide_padding,
        _wide_dilation,
        _small_groups,
        _depthwise,
        _thin,
    )
    for case in family()
    if case.valid
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolution(case):
    """Every operation in both layouts and dtypes against torch."""
    for problem in problems(case):
        for operation in OPERATIONS:
            problem.check(operation, problem.compute(operation))


@pytest.mark.parametrize("case", CASES[::2], ids=str)
def test_transposed_convolution(case):
    """The way back from y to x, every operation, in both layouts and dtypes, against torch."""
    back = case.reversed()
    for problem in problems(back):
        for operation in OPERATIONS:
            problem.check(operation, problem.compute(operation))
