# `make demo` and `make test` work on a fresh machine that has Python 3.11 or newer.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test lint format reliability browser peers clean

demo: .venv/core
	$(BIN)/palate demo

# Two processes, each with whole files: what a file has started serves all of its tests.
test: lint
	$(BIN)/pytest -n 2 --dist loadfile

lint: .venv/test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy palate tests benchmarks

format: .venv/test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Chromium, with which the page of the service is tested; without it those tests are skipped.
browser:
	@command -v chromium >/dev/null || { apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium fonts-dejavu-core >/dev/null; } || echo "no chromium here, and it cannot be installed: the tests of the page are skipped"

# The libraries that the benchmarks compare with, in an environment of their own. lenskit wants torch: TORCH says which.
TORCH ?= torch
peers: benchmarks/peers/venv/ready

# Kills, outages, damages, hostile requests, an hour of load: MINUTES of it, from where the last run stopped; run it until
# nothing is left. PARTS names some of them. Root for the small disks.
PARTS ?=
MINUTES ?= 18
reliability: .venv/test
	$(BIN)/python benchmarks/reliability.py $(PARTS) --minutes $(MINUTES)

clean:
	rm -rf .venv benchmarks/peers build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("palate needs Python 3.11 or newer, this is " + sys.version if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

# The stamps say which packages are in; they are older than pyproject.toml when it has changed.
.venv/core: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/test: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps aisfx  # it asks for numpy 1.23, but only its weights are read
	@touch .venv/core $@

benchmarks/peers/venv/ready:
	$(PYTHON) -m venv benchmarks/peers/venv
	benchmarks/peers/venv/bin/pip install --quiet --disable-pip-version-check $(TORCH) implicit irspack lenskit lightfm-next rusket
	@touch $@
