# One command each. Every target does its own set-up, in .venv and build/, from python3, a C compiler
# and make; stamp files let a second run start at once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where `make demo` saves its picture, and what `make test` gives pytest.
OUTPUT ?= out/demo.png
PYTEST_ARGS ?=
ARGS ?=

PIP := -m pip --disable-pip-version-check --no-input --quiet
C_FILES := $(shell find csrc -name '*.[ch]' | sort)
TEST_C_FILES := $(wildcard tests/c/*.[ch] fuzz/*.c)
# What a build reads. Python files need no rebuild: the package is installed in editable mode.
BUILD_INPUTS := pyproject.toml setup.py $(C_FILES)
PACKAGE_INPUTS := $(BUILD_INPUTS) MANIFEST.in $(shell find convlab -name '*.py' | sort)
# The requirements in pyproject.toml, one a line: $(call requirements,project.optional-dependencies.test)
requirements = $(BIN)/python -c 'import functools, tomllib; \
	table = tomllib.load(open("pyproject.toml", "rb")); \
	print(*functools.reduce(dict.__getitem__, "$(1)".split("."), table), sep="\n")'

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test isas bench notebooks lint format package sanitize threads \
	accuracy valgrind tsan neon fuzz coverage clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s%s\n", $$1, $$2 }' Makefile

demo: $(VENV)/built $(VENV)/demo ## filter a photograph, train a network on digits, save a picture
	$(BIN)/python -m convlab demo --output $(OUTPUT)

test: $(VENV)/built $(VENV)/test ## run every test, on two cores
	$(BIN)/pytest -n 2 $(PYTEST_ARGS)

isas: $(VENV)/built $(VENV)/test ## run the tests on every other instruction set of this CPU
	$(BIN)/python -P tests/every_isa.py -n 2 $(PYTEST_ARGS)

bench: $(VENV)/built $(VENV)/bench ## convlab beside PyTorch and SciPy; options in ARGS="--quick --rows 3x3"
	$(BIN)/python -m benchmarks $(ARGS)

notebooks: $(VENV)/built $(VENV)/notebooks ## execute the notebooks in place
	$(BIN)/python notebooks/execute.py

lint: $(VENV)/lint ## check style, types, and that C and the package build without a warning
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(C_FILES) $(TEST_C_FILES)
	! grep -nE '^.{101}' $(C_FILES) $(TEST_C_FILES)
	$(BIN)/mypy
	$(MAKE) --no-print-directory package

format: $(VENV)/lint ## put Python and C into the project's style
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES) $(TEST_C_FILES)

package: build/package/checked ## build as users do, sdist then wheel, and check the result
	@ls build/package/dist

# libstdc++ must be there before ASan looks for its throw, or PyTorch's exceptions end the process.
# Left out are errors of rounding, which are the same and take long to measure, and types.
sanitize: build/sanitize/built $(VENV)/test ## run the tests with the C core under ASan and UBSan
	LD_PRELOAD="$$($(SANITIZE_CC) -print-file-name=libasan.so) \
$$($(SANITIZE_CC) -print-file-name=libstdc++.so.6)" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
	OMP_NUM_THREADS=2 $(call pytest_on,sanitize) tests --ignore tests/robustness/test_accuracy.py \
		--ignore tests/test_typing.py $(PYTEST_ARGS)

THREAD_TESTS := tests/test_threads.py tests/robustness/test_threads_and_forks.py
threads: build/threads/built build/serial/built $(VENV)/test ## run the tests of threads, small problems on many; without OpenMP
	OMP_WAIT_POLICY=passive $(call pytest_on,threads) $(THREAD_TESTS) $(PYTEST_ARGS)
	$(call pytest_on,serial) $(THREAD_TESTS) $(PYTEST_ARGS)

accuracy: $(VENV)/built $(VENV)/test ## every operation's errors beside PyTorch's
	$(BIN)/python -P tests/robustness/accuracy_table.py

# The C core's own tests need Debian's valgrind; clang, libclang-rt-14-dev and libomp-14-dev (tsan, fuzz);
# gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user (neon).
valgrind: ## run the C core's own tests under valgrind
	$(MAKE) -C tests/c $@

tsan: ## run them under ThreadSanitizer
	$(MAKE) -C tests/c $@

neon: ## run them for 64-bit ARM, emulated
	$(MAKE) -C tests/c $@

fuzz: ## try drawn problems, common and hostile, for a minute (FUZZ_SECONDS)
	$(MAKE) -C tests/c $@

# Of C, what the C tests reach and what the Python tests reach, the binding with it; of Python, what is
# reached in the process of the tests. That is one: what pytest's workers end with is not an exit at
# which C's counters would be written.
coverage: build/coverage/built $(VENV)/lint $(VENV)/test ## lines and branches of C and Python that tests reach
	$(MAKE) -C tests/c coverage
	find build/coverage/objects -name '*.gcda' -delete
	COVERAGE_FILE=build/coverage/data $(call pytest_on,coverage) tests build/coverage/lib/convlab \
		--ignore build/coverage/lib/convlab/__main__.py --cov build/coverage/lib/convlab --cov-branch \
		--cov-report term-missing --cov-report json:build/coverage/python.json \
		--cov-report html:build/coverage/python -n 0 $(PYTEST_ARGS)
	@mkdir -p build/coverage/c
	$(BIN)/gcovr --root . --filter csrc/ --merge-mode-functions=separate --gcov-suspicious-hits-threshold=0 \
		--gcov-ignore-parse-errors=negative_hits.warn \
		--print-summary --txt - \
		--html-details build/coverage/c/index.html build/c/coverage build/coverage/objects
	@$(BIN)/python -c 'import json; \
	totals = json.load(open("build/coverage/python.json"))["totals"]; \
	print("Python: lines {percent_statements_covered:.1f}%, branches {percent_branches_covered:.1f}%" \
		.format_map(totals))'

clean: ## remove everything that the other commands made
	rm -rf $(VENV) build dist out *.egg-info convlab/_core*.so
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/created: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(call requirements,build-system.requires) | $(BIN)/python $(PIP) install -r /dev/stdin
	@touch $@

$(VENV)/built: $(VENV)/created $(BUILD_INPUTS)
	$(BIN)/python $(PIP) install --no-build-isolation --editable .
	@touch $@

$(VENV)/demo $(VENV)/test $(VENV)/lint $(VENV)/bench $(VENV)/notebooks: $(VENV)/created
	$(call requirements,project.optional-dependencies.$(@F)) \
		| $(BIN)/python $(PIP) install -r /dev/stdin
	@touch $@

# A wheel from the source distribution alone, with every warning an error, in a fresh environment.
build/package/checked: $(VENV)/lint $(PACKAGE_INPUTS) README.md LICENSE
	rm -rf build/package
	CONVLAB_WERROR=1 $(BIN)/python -m build --no-isolation --outdir build/package/dist > /dev/null
	$(PYTHON) -m venv build/package/venv
	build/package/venv/bin/python $(PIP) install build/package/dist/*.whl
	cd build/package && venv/bin/python -m convlab check
	@touch $@

# Builds with flags of their own, for the tests to import in place of the installed one; the folder that
# pytest runs in stays off the path. Left out are tests of what is not in the package, and test_c.py,
# whose programs `make -C tests/c` builds with the same flags.
pytest_on = PYTHONSAFEPATH=1 PYTHONPATH=$(abspath build/$(1)/lib) $(BIN)/pytest -n 2 \
	-o pythonpath="tests tests/lessons" --ignore tests/test_benchmarks.py \
	--ignore tests/test_notebooks.py --ignore tests/test_c.py

# Rounding as users' builds do: without expensive optimisations gcc does not fuse products and sums.
SMALL := -O1 -fexpensive-optimizations
SANITIZE_CC := gcc
SANITIZE_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined
# Registers are given out once for a whole function: two thirds of a compiler's time. Checks by calls,
# as in tests/c/Makefile, would be a quarter, but cost these tests more than that.
QUICKLY := -fira-region=one
build/sanitize/built: flags = CC=$(SANITIZE_CC) CONVLAB_LDFLAGS="$(SANITIZE_FLAGS)" \
	CONVLAB_CFLAGS="$(SANITIZE_FLAGS) $(SMALL) $(QUICKLY) -fno-omit-frame-pointer"

build/coverage/built: flags = CONVLAB_LDFLAGS=--coverage \
	CONVLAB_CFLAGS="--coverage $(SMALL) -g -fprofile-update=atomic"

EAGER := $(abspath build/threads/eager_threads.o)
build/threads/built: flags = CONVLAB_CFLAGS=-O2 \
	CONVLAB_LDFLAGS="-Wl,--wrap=cvl_threads_for $(EAGER)"
build/threads/built: $(EAGER)
build/serial/built: flags = CONVLAB_OPENMP=0 CONVLAB_CFLAGS=-O2
# Kernels know nothing of threads: a compiler's minutes are spent once.
build/serial/built: private kernels = build/threads/objects/csrc/kernels
build/serial/built: build/threads/built

$(EAGER): tests/c/eager_threads.c csrc/support/threads.h
	@mkdir -p $(@D)
	$(CC) -O2 -fPIC -Icsrc -c $< -o $@

build/%/built: $(VENV)/created $(PACKAGE_INPUTS)
	rm -rf build/$*/lib build/$*/objects
	$(if $(kernels),mkdir -p build/$*/objects/csrc && cp -rp $(kernels) build/$*/objects/csrc)
	$(flags) $(BIN)/python setup.py --quiet build --build-lib build/$*/lib \
		--build-temp build/$*/objects
	@touch $@
