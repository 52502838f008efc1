"""``python -m benchmarks.drawn``: layers that nobody chose, beside PyTorch.

The suite's layers are few, and what was tuned for them may hide what is slow beside them. Here
layers of the same kinds are drawn, of any sizes, odd ones among them; each is computed by both
libraries in one operation, dtype and layout, and the results are compared.
"""

import argparse
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.report import geometric_mean, ratios
from benchmarks.runner import Measurement, Plan, Runner
from benchmarks.suite import DTYPES, LAYOUTS, OPERATIONS, Case, Row

FEW = (1, 2, 3, 4)
MANY = (8, 12, 13, 16, 17, 20, 24, 31, 32, 33, 40, 48, 50, 63, 64, 72, 80, 96, 100, 112, 128, 130)
MOST = (144, 160, 192, 240, 256, 320, 384, 480, 512, 576, 672, 768, 960, 1024)
GROUPS = (2, 4, 8, 16, 32)
BATCHES = (1, 1, 2, 2, 4, 8, 16)
LENGTHS = {
    1: (32, 100, 200, 512, 800, 1000, 1500, 3000, 8000, 16000),
    2: (4, 5, 6, 7, 8, 10, 12, 13, 14, 16, 20, 25, 28, 31, 35, 40, 48, 56, 64, 80, 112, 150, 224),
    3: (4, 7, 8, 14, 16, 28),
}
FLOPS = (2e5, 6e8)
MOST_ELEMENTS = 6_000_000
PLAN = Plan(rounds=3, most_rounds=5, turn_seconds=0.02, patience_seconds=0.5)
WORST = 20


@dataclass(frozen=True)
class Kind:
    """What layers of a kind may have; ``inputs`` are their input channels, or how they group."""

    name: str
    axes: int
    kernels: tuple[int, ...]
    strides: tuple[int, ...] = (1,)
    dilations: tuple[int, ...] = (1,)
    transposed: bool = False
    inputs: tuple[int, ...] | str = MANY + MOST


KINDS = (
    Kind("dense", 2, (3, 3, 5), (1, 1, 2)),
    Kind("1x1", 2, (1,), (1, 1, 2)),
    Kind("dilated", 2, (3,), dilations=(2, 3, 4, 6)),
    Kind("first", 2, (3, 4, 5, 7, 11, 16), (1, 2, 4), inputs=FEW),
    Kind("depthwise", 2, (3, 5, 7), (1, 1, 2), inputs="depthwise"),
    Kind("grouped", 2, (3,), (1, 1, 2), inputs="grouped"),
    Kind("transposed", 2, (2, 3, 4), (2,), transposed=True),
    Kind("3-D", 3, (1, 3), (1, 2)),
    Kind("3-D depthwise", 3, (3,), (1, 2), inputs="depthwise"),
    Kind("3-D transposed", 3, (2, 4), (2,), transposed=True),
    Kind("1-D", 1, (1, 3, 5, 7, 10, 11, 31), (1, 1, 2, 5), (1, 1, 2, 4, 8)),
    Kind("1-D depthwise", 1, (3, 7, 31), inputs="depthwise"),
    Kind("1-D transposed", 1, (4, 8, 16), (2, 4, 8), transposed=True),
)


def draw_layer(chance: random.Random) -> Row:
    """Return a layer of any kind, which may be too large or have no outputs."""
    kind = chance.choice(KINDS)
    axes, k = kind.axes, chance.choice(kind.kernels)
    stride, dilation = chance.choice(kind.strides), chance.choice(kind.dilations)
    groups, oc = 1, chance.choice(MANY + MOST)
    ic = chance.choice(MANY + MOST if isinstance(kind.inputs, str) else kind.inputs)
    if kind.inputs == "depthwise":
        groups, oc = ic, ic
    elif kind.inputs == "grouped":
        groups = chance.choice(GROUPS)
        ic *= groups
        oc = ic
    last = chance.choice(LENGTHS[axes])
    size = tuple(chance.choice((last, last, n)) for n in chance.choices(LENGTHS[axes], k=axes))
    if kind.transposed:
        padding, more = max(k - stride, 0) // 2, max(k - stride, 0) % 2
    else:
        padding, more = dilation * (k - 1) // 2, 0
    every = [(value,) * axes for value in (k, stride, padding, dilation, more)]
    name = f"{kind.name}: {groups} groups, {ic} to {oc}, {'x'.join(map(str, size))}, kernel {k}"
    name += f", stride {stride}, dilation {dilation}, batch "
    n = chance.choice(BATCHES)
    return Row(name + str(n), kind.name, kind.transposed, n, groups, ic, oc, size, *every)


def draw_cases(seed: int, threads: int) -> Iterator[Case]:
    """Yield cases that take neither too long nor no time."""
    chance = random.Random(seed)
    while True:
        row = draw_layer(chance)
        op, dtype, layout = map(chance.choice, (OPERATIONS, DTYPES, LAYOUTS))
        if min(row.out_size) < 1:
            continue
        largest = max(math.prod(shape) for shape in (row.x_shape, row.y_shape, row.w_shape))
        if largest <= MOST_ELEMENTS and FLOPS[0] <= row.flops <= FLOPS[1]:
            yield Case(row, op, dtype, layout, threads)


def describe(measurement: Measurement, ratio: float) -> str:
    """Return the ratio, convlab's time and the case."""
    case, milliseconds = measurement.case, 1e3 * measurement.seconds["convlab"]
    what = f"{case.op} {case.dtype} {case.layout}"
    return f"{ratio:6.2f}x {milliseconds:8.3f} ms  {what}, {case.row.name}"


def main() -> None:
    """Measure for a while, then print the lowest ratios and what all of them come to."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.drawn",
        description="Measures layers that are drawn, beside PyTorch.",
    )
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--isa")
    chosen = options.parse_args()
    end, measured = time.monotonic() + chosen.seconds, []
    with Runner(PLAN, isa=chosen.isa, max_threads=chosen.threads) as runner:
        runner.start()
        for measurement in runner.measure(draw_cases(chosen.seed, chosen.threads)):
            for library, reason in measurement.errors.items():
                print(f"{library}: {reason}: {measurement.case}", flush=True)
            measured.append(measurement)
            if time.monotonic() > end:
                break
    lowest_first = sorted(ratios(measured), key=lambda valued: valued[1])
    print("\n".join(describe(*valued) for valued in lowest_first[:WORST]))
    values = [value for _, value in lowest_first]
    ahead, near = (sum(value >= least for value in values) for least in (1, 0.9))
    print(
        f"\n{len(values)} cases, seed {chosen.seed}: {ahead / len(values):.1%} at least 1.0x,"
        f" {near / len(values):.1%} at least 0.9x, geometric mean {geometric_mean(values):.2f}x."
    )


if __name__ == "__main__":
    main()
