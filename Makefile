# make demo      the main job, from nothing: installs, builds, runs it, shows the result, cleans up
# make test      all tests but the slow ones
# make nightly   all tests
# make formal    all proofs, the deep ones too
# make lint      ruff and mypy
# make docs      the register map, build/docs/registers.md
# make bitstream BOARD=NAME [KEY=FILE]   a board's bitstream, or its Vivado project, in build/boards/NAME
# make boards-report [BOARD=NAME] [JOBS=N]   builds all boards, or one, with all seeds, N at once, and writes their rows of
#                docs/boards.md; takes hours
# make benchmarks  measures the data plane and its size, and writes the tables of docs/benchmarks.md; takes an hour

BIN := .venv/bin
# -rs: what was skipped, and why.
PYTEST := $(BIN)/pytest -q -rs -p no:cacheprovider --no-header
# A worker that has nothing left to do takes tests of the other one.
STEAL := --dist worksteal

# Boards of tests run for seconds: to compile them takes longer. At night they are those that users have.
unit cocotb system: export POLYROUTER_OPTIMIZE ?= -Og

.PHONY: demo test nightly formal proofs lint unit cocotb system docs benchmarks bitstream boards-report \
	venv clean

demo: venv
	$(BIN)/polyrouter demo

# One after the other, the quick ones first: what is wrong shows early.
test: venv
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory unit
	$(MAKE) --no-print-directory proofs
	$(MAKE) --no-print-directory cocotb
	$(MAKE) --no-print-directory system

# Property tests try all of their examples.
nightly: export POLYROUTER_TESTS := all
nightly: venv
	$(MAKE) --no-print-directory lint
	$(PYTEST) -n 2 $(STEAL) tests/mutation tests/unit
	$(MAKE) --no-print-directory formal
	$(PYTEST) -n 2 tests/cocotb
	$(PYTEST) -n 2 tests/system

unit: venv
	$(PYTEST) -n 2 $(STEAL) -m "not slow" tests/mutation tests/unit

proofs: venv
	$(PYTEST) -n 2 $(STEAL) -m "not slow" tests/formal

formal: venv
	$(PYTEST) -n 2 $(STEAL) tests/formal

cocotb: venv
	$(PYTEST) -n 2 -m "not slow" tests/cocotb

system: venv
	$(PYTEST) -n 2 -m "not slow" tests/system

# mypy does not follow the map from folders to packages in pyproject.toml; the links show it the same tree.
lint: venv
	$(BIN)/ruff check .
	@mkdir -p build/types/polyrouter
	@for package in hdl boards sim host; do ln -sfn ../../../$$package build/types/polyrouter/$$package; done
	MYPYPATH=build/types $(BIN)/mypy --namespace-packages --explicit-package-bases --ignore-missing-imports \
		--no-error-summary -p polyrouter

docs: venv
	@mkdir -p build/docs
	$(BIN)/python -m polyrouter.hdl.regmap > build/docs/registers.md

# A figure that misses its bar is written down too; the last line fails then.
benchmarks: venv
	@mkdir -p build/benchmarks
	status=0; for bench in dataplane links resources; do \
		$(BIN)/polyrouter bench $$bench --json > build/benchmarks/$$bench.json || status=$$?; done; \
	$(BIN)/polyrouter bench resources --part links --json > build/benchmarks/linkengine.json || status=$$?; \
	$(BIN)/python -m polyrouter.host.benchmarks.document docs/benchmarks.md build/benchmarks && exit $$status

bitstream: venv
	@test -n "$(BOARD)" || { echo "which board? make bitstream BOARD=NAME; there are:" >&2; \
		$(BIN)/polyrouter board list >&2; exit 2; }
	$(BIN)/polyrouter board build $(BOARD) $(if $(KEY),--key $(KEY))

# What can't be built is left out of the table, and a line rate that could not be measured is not that of an earlier run:
# the table says so. The last line fails then, as it does if a bar is missed.
boards-report: venv
	@mkdir -p build/boards
	status=0; for board in $(or $(BOARD),$$($(BIN)/polyrouter board list --json | $(BIN)/python -c \
		'import json, sys; print(*(row["name"] for row in json.load(sys.stdin)))')); do \
		$(BIN)/polyrouter board build $$board --all-seeds --jobs $(or $(JOBS),1) || status=$$?; done; \
	rates=build/boards/line_rate.json; \
	$(BIN)/polyrouter bench boards $(addprefix --board ,$(BOARD)) --json > $$rates.new || status=$$?; \
	if $(BIN)/python -m json.tool $$rates.new > /dev/null 2>&1; then mv $$rates.new $$rates; \
		else rm -f $$rates.new $$rates; fi; \
	$(BIN)/python -m polyrouter.host.benchmarks.boards_report docs/boards.md build/boards $(BOARD) && exit $$status

venv:
	@tools/bootstrap

clean:
	rm -rf build .venv .mypy_cache .ruff_cache
