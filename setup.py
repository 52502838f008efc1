"""Builds convlab._core: the C core as static libraries and its binding.

The kernels of each instruction set are libraries of their own, because their flags must reach them
and nothing else; the one to run is chosen when the module loads. Nothing is built for the machine
at hand.
"""

import os
import platform
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from setuptools import Extension, setup
from setuptools._distutils import ccompiler, errors, sysconfig
from setuptools.command.build_clib import build_clib

VERSION = "0.1.0"

# Python's own flags ask for all that a debugger wants to know: half of a compiler's time, and most
# of a library. Lines are enough.
BASE_FLAGS = ["-std=gnu11", "-O3", "-g1", "-fvisibility=hidden", "-Wall", "-Wextra"]
if os.environ.get("CONVLAB_WERROR"):
    BASE_FLAGS.append("-Werror")
EXTRA_FLAGS = os.environ.get("CONVLAB_CFLAGS", "").split()
# Of the kernels, all unrolled, sanitizers watch memory alone: more takes a compiler many minutes.
KERNEL_EXTRA_FLAGS = [flag.replace("address,undefined", "address") for flag in EXTRA_FLAGS]
EXTRA_LINK_FLAGS = os.environ.get("CONVLAB_LDFLAGS", "").split()

# Where pointers lack registers, GCC keeps them in vector registers that happen to be free, and one
# that is read back waits behind all sums that were queued before it. Tuned for this processor, on
# whatever processor it runs, it keeps them in memory.
POINTERS_IN_MEMORY = "-mtune=haswell"

# Kernels per architecture: name and the flags that its one source file needs.
INSTRUCTION_SETS = {
    "x86_64": {
        "avx2": ["-mavx2", "-mfma"],
        "avx512": [
            *("-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mfma", "-mavx2"),
            POINTERS_IN_MEMORY,
        ],
    },
    "aarch64": {"neon": []},
}
ARCHITECTURE = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())


def compiles(flags: list[str]) -> bool:
    """Whether the compiler accepts these flags, at compiling and at linking."""
    compiler = ccompiler.new_compiler()
    sysconfig.customize_compiler(compiler)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.c"
        source.write_text("int main(void) { return 0; }\n")
        try:
            objects = compiler.compile([str(source)], output_dir=folder, extra_postargs=flags)
            compiler.link_executable(objects, "probe", output_dir=folder, extra_postargs=flags)
        except (errors.CompileError, errors.LinkError):
            return False
    return True


def openmp_flags() -> list[str]:
    """OpenMP, unless the compiler has none or CONVLAB_OPENMP=0 asks for a build without it."""
    if os.environ.get("CONVLAB_OPENMP", "1") == "0" or not compiles(["-fopenmp"]):
        return []
    return ["-fopenmp"]


class BuildLibraries(build_clib):
    """Builds libraries side by side: kernels, all unrolled, take a compiler half a minute each."""

    def build_libraries(self, libraries: list) -> None:
        """Run a compiler for each core."""
        build = super().build_libraries
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(build, [[library] for library in libraries]))


openmp = openmp_flags()
instruction_sets = {
    name: flags for name, flags in INSTRUCTION_SETS.get(ARCHITECTURE, {}).items() if compiles(flags)
}
macros = [(f"CVL_BUILD_{name.upper()}", "1") for name in instruction_sets]
headers = sorted(str(path) for path in Path("csrc").rglob("*.h"))
common = {"include_dirs": ["csrc"], "macros": macros, "obj_deps": {"": headers}}
core_sources = sorted(
    str(path)
    for folder in ("support", "ops", "drivers", "reference")
    for path in Path("csrc", folder).glob("*.c")
)

core = {
    "sources": core_sources,
    "cflags": [*BASE_FLAGS, "-fPIC", *openmp, *EXTRA_FLAGS],
    **common,
}
KERNEL_FLAGS = [*BASE_FLAGS, "-fPIC", "-ffp-contract=fast"]
kernels = [
    (
        f"cvl_kernels_{name}_{dtype}",
        {
            "sources": [f"csrc/kernels/kernels_{name}_{dtype}.c"],
            "cflags": [*KERNEL_FLAGS, *flags, *KERNEL_EXTRA_FLAGS],
            **common,
        },
    )
    for name, flags in {"generic": [], **instruction_sets}.items()
    for dtype in ("f32", "f64")
]

setup(
    version=VERSION,
    libraries=[("cvl_core", core), *kernels],
    cmdclass={"build_clib": BuildLibraries},
    ext_modules=[
        Extension(
            "convlab._core",
            sorted(str(path) for path in Path("csrc/binding").glob("*.c")),
            include_dirs=["csrc", numpy.get_include()],
            define_macros=[("CVL_VERSION", f'"{VERSION}"')],
            extra_compile_args=[*BASE_FLAGS, *openmp, *EXTRA_FLAGS],
            extra_link_args=[*openmp, *EXTRA_LINK_FLAGS],
            depends=[*headers, *(str(path) for path in Path("csrc").rglob("*.c"))],
        )
    ],
)
