"""``python -m convlab``: what is installed, whether it is right, how fast it is, what it can do."""

import argparse
import math
import sys
from collections.abc import Callable, Sequence

import convlab
from convlab import _bench, _check


def at_least(least: int) -> Callable[[str], int]:
    """Return a reader of whole numbers, for argparse."""

    def whole_number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number >= {least}, got {text!r}")
        return int(text)

    return whole_number


def seconds(text: str) -> float:
    """Read a length of time, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, got {text!r}")
    return value


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    about, _, _ = (convlab.__doc__ or "").partition("\n")
    top = argparse.ArgumentParser(prog="python -m convlab", description=about)
    commands = top.add_subparsers(dest="command", required=True, metavar="command")

    def command(name: str, does: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.")

    command("info", "print version, instruction sets, threads and compiler")
    check = command("check", "compare every operation with plain loops")
    bench = command("bench", "time a few layers, beside PyTorch and SciPy where they are installed")
    demo = command("demo", "filter a photograph and train a network on digits")
    for drawn in (check, demo):
        drawn.add_argument("--seed", type=at_least(0), default=0, help="of the data (default: 0)")
    bench.add_argument(
        "--seconds", type=seconds, default=0.2, help="to spend on each entry (default: 0.2)"
    )
    demo.add_argument("--output", default="out/demo.png", help="picture (default: out/demo.png)")
    demo.add_argument("--epochs", type=at_least(1), default=25, help="of training (default: 25)")
    return top


def demonstrate(output: str, seed: int, epochs: int) -> int:
    """Run the demonstration, or say what it needs."""
    from convlab import _demo

    try:
        return _demo.run(output, seed=seed, epochs=epochs)
    except ModuleNotFoundError as missing:
        print(f'{missing}. The demo needs: pip install "convlab[demo]"', file=sys.stderr)
    except _demo.PictureError as problem:
        print(f"The picture cannot be saved: {problem}", file=sys.stderr)
    return 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = parser().parse_args(arguments)
    match given.command:
        case "info":
            convlab.show_config()
            return 0
        case "check":
            return _check.run(given.seed)
        case "bench":
            return _bench.run(given.seconds)
        case _:
            return demonstrate(given.output, given.seed, given.epochs)


if __name__ == "__main__":
    sys.exit(main())
