# make serve: the demo in a browser. make test: every check. All else is below.
# PYTHON=python3.13: another interpreter, in an environment of its own. LOOP=asyncio: the servers of the tests on that loop.
PYTHON ?= python3
LOOP ?= auto
VENV := .venv$(patsubst %,-%,$(subst /,_,$(filter-out python3,$(PYTHON))))
BIN := $(VENV)/bin
BIND ?= 127.0.0.1:8000
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# An install is repeated only when pyproject.toml is newer than its stamp.
RUN_STAMP := $(VENV)/.installed-run
TEST_STAMP := $(VENV)/.installed-test
BENCH_STAMP := $(VENV)/.installed-bench
PEERS_STAMP := $(VENV)/.installed-peers
FUZZ_STAMP := $(VENV)/.installed-fuzz

.DEFAULT_GOAL := help
.PHONY: help serve test lint format fuzz fuzz-guided fuzz-examples bench bench-quick bench-micro bench-instructions conformance-peers autobahn audit test-lowest container-test soak clean

help:
	@echo "make serve           run the demo app on $(BIND)"
	@echo "make test            format, lint, types and tests; PYTHON=python3.13, LOOP=asyncio"
	@echo "make lint            the same without the tests"
	@echo "make format          rewrite the sources in the house's format"
	@echo "make fuzz            fuzz sessions and connections, FUZZ_SECONDS=600 long"
	@echo "make fuzz-guided     the same guided by coverage (atheris)"
	@echo "make fuzz-examples   property tests, many more examples"
	@echo "make bench           measure beside other servers, everything: hours"
	@echo "make bench-quick     the same for the targets only: under three minutes"
	@echo "make bench-micro     time the parts alone (pyperf)"
	@echo "make bench-instructions  count the instructions of a request (valgrind)"
	@echo "make conformance-peers  HTTP/1.1 cases on other servers, five minutes"
	@echo "make autobahn        WebSocket cases of Autobahn (needs CPython 2.7)"
	@echo "make audit           known vulnerabilities of the run-time dependencies"
	@echo "make test-lowest     tests with the lowest allowed dependencies: four minutes"
	@echo "make soak            faults at random in each mode, SOAK_SECONDS=600 long"
	@echo "make container-test  build the image and run it (root, Debian)"
	@echo "make clean           remove the environment and all caches"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): pyproject.toml | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(TEST_STAMP): pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[test]'
	@touch $@ $(RUN_STAMP)

$(BENCH_STAMP): pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[bench]'
	@$(PIP) --editable '.[bench-bjoern]' >/dev/null 2>&1 || echo "bjoern did not build and is left out: apt-get install libev-dev"
	@touch $@ $(RUN_STAMP)

$(FUZZ_STAMP): $(TEST_STAMP)
	$(PIP) --editable '.[fuzz]'
	@touch $@

$(PEERS_STAMP): pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[peers]'
	@touch $@ $(RUN_STAMP)

serve: $(RUN_STAMP)
	@echo "Open http://$(BIND)/ in a browser"
	@$(BIN)/bridgeserve --app-dir examples demo:application --mode threads --bind $(BIND)

test: $(TEST_STAMP)
	TEST_LOOP="$(LOOP)" PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

lint: $(TEST_STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check --no-tests

format: $(TEST_STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What is found is saved in tests/property/corpus.
FUZZ_SECONDS ?= 600
fuzz: $(TEST_STAMP)
	$(BIN)/python -m tests.property --seconds $(FUZZ_SECONDS)

# The same inputs, but those are mutated that reach new code; it works in .fuzz/.
fuzz-guided: $(FUZZ_STAMP)
	$(BIN)/python -m tests.property.guided --seconds $(FUZZ_SECONDS)

# The property tests with the profile "fuzz".
fuzz-examples: $(TEST_STAMP)
	$(BIN)/python -m pytest tests/property --hypothesis-profile=fuzz --timeout=0

RESULTS := benchmarks/results

bench: $(BENCH_STAMP)
	$(BIN)/python -m benchmarks run --json $(RESULTS)/full.json --markdown $(RESULTS)/full.md --charts $(RESULTS)/charts

bench-quick: $(BENCH_STAMP)
	@$(BIN)/python -m benchmarks quick --json $(RESULTS)/quick.json

bench-micro: $(BENCH_STAMP)
	$(BIN)/python -m benchmarks.micro

bench-instructions: $(BENCH_STAMP)
	$(BIN)/python -m benchmarks.micro.instructions

# Writes docs/conformance.md.
conformance-peers: $(PEERS_STAMP)
	$(BIN)/python tests/conformance/peers.py

# Autobahn's WebSocket cases, where CPython 2.7 is at hand; writes a section of docs/conformance.md.
autobahn: $(TEST_STAMP)
	$(BIN)/python tests/autobahn/run.py

# Known vulnerabilities of what a fresh install brings. Where nobody can be asked it says so, and passes.
audit:
	@$(PYTHON) -m venv $(VENV)-audit
	@if $(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --editable '.[audit]'; then \
		$(VENV)-audit/bin/python scripts/audit.py; \
	else \
		echo "pip-audit could not be installed: nobody could be asked"; \
	fi

# The tests that need no framework, with the lowest versions that pyproject.toml allows at run time.
LOWEST := $(VENV)-lowest
LOWEST_TESTS := tests/wire tests/net tests/dispatch tests/serve tests/e2e/test_cli_e2e.py tests/e2e/test_embed.py

test-lowest:
	@$(PYTHON) -m venv $(LOWEST)
	@$(PYTHON) scripts/lowest.py >$(LOWEST)/lowest.txt && cat $(LOWEST)/lowest.txt
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(LOWEST)/lowest.txt --editable '.[reload,websockets]' pytest pytest-timeout httpx
	$(LOWEST)/bin/python -m pytest $(LOWEST_TESTS)

# Its seed is printed; tests/soak/run.py --seed N repeats it.
SOAK_SECONDS ?= 600
soak: $(TEST_STAMP)
	$(BIN)/python tests/soak/run.py --seconds $(SOAK_SECONDS)

container-test: $(RUN_STAMP)
	PYTHON="$(CURDIR)/$(BIN)/python" tests/container/check.sh

clean:
	rm -rf .venv .venv-* build dist .coverage .coverage.* htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests examples scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
