"""``python -m convlab``: what is installed, whether it is right, how fast it is, what it can do."""

import argparse
import sys
from collections.abc import Sequence

import convlab
from convlab import _bench, _check


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="python -m convlab", description=convlab.__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("info", help="print version, instruction sets, threads and compiler")
    check = commands.add_parser("check", help="compare every operation with plain loops")
    bench = commands.add_parser("bench", help="time a few layers, beside PyTorch and SciPy")
    demo = commands.add_parser("demo", help="filter a photograph and train a network on digits")
    for command in (check, demo):
        command.add_argument("--seed", type=int, default=0, help="of the data (default: 0)")
    bench.add_argument(
        "--seconds", type=float, default=0.2, help="to spend on each entry (default: 0.2)"
    )
    demo.add_argument("--output", default="out/demo.png", help="picture (default: out/demo.png)")
    demo.add_argument("--epochs", type=int, default=25, help="of training (default: 25)")
    return top


def demonstrate(output: str, seed: int, epochs: int) -> int:
    """Run the demonstration, or say what it needs."""
    from convlab import _demo

    try:
        return _demo.run(output, seed=seed, epochs=epochs)
    except ModuleNotFoundError as missing:
        print(f'{missing}. The demo needs: pip install "convlab[demo]"', file=sys.stderr)
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
