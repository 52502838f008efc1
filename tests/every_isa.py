"""The whole suite on each instruction set that was built, but for the one that is used by default.

    python tests/every_isa.py [pytest's arguments]

What this CPU does not have is said and left out; any CPU has the generic one.
"""

import os
import subprocess
import sys

from convlab import _core

# These run on every instruction set by themselves, run programs on the default one, or compute
# nothing.
IGNORED = (
    "tests/robustness/test_accuracy.py",
    "tests/robustness/test_nan_containment.py",
    "tests/test_benchmarks.py",
    "tests/test_c.py",
    "tests/test_instruction_sets.py",
    "tests/test_notebooks.py",
    "tests/test_plot.py",
    "tests/test_typing.py",
)


def main(arguments: list[str]) -> int:
    """Run pytest for one after the other; stop at the first that fails."""
    config = _core.config()
    for isa in config["built"]:
        if isa == config["isa"]:
            print(f"== {isa}: `make test` runs it", flush=True)
        elif isa not in config["available"]:
            print(f"== {isa}: SKIPPED, this CPU does not have it", flush=True)
        else:
            print(f"== {isa}", flush=True)
            ignored = [option for path in IGNORED for option in ("--ignore", path)]
            command = [sys.executable, "-m", "pytest", *ignored, *arguments]
            done = subprocess.run(command, env=os.environ | {"CONVLAB_ISA": isa})
            if done.returncode:
                return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
