# `make demo` and `make test` work on a fresh machine that has Python 3.11 or newer.
PYTHON ?= python3
# An environment for each version of Python: .venv for python3, .venv-3.12 for `make test PYTHON=python3.12`.
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
BIN = $(VENV)/bin
PIP = $(BIN)/pip --quiet --disable-pip-version-check

# Without compiled modules each process that tests start would compile the library again.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test pytest test-lowest lint format docs reliability browser peers clean

demo: $(VENV)/core
	$(BIN)/palate demo

# Four processes for two cores, and lint beside them, as tests wait for services and databases a quarter of their time.
# Each takes whole files: what a file has started serves all of its tests; tests/conftest.py says which files come first.
test: $(VENV)/test
	$(MAKE) --no-print-directory --jobs=2 lint pytest

pytest: $(VENV)/test
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

# The tests of the core with the lowest versions that pyproject.toml admits.
test-lowest: $(VENV)-lowest/ready
	$(VENV)-lowest/bin/pytest $(CORE_TESTS)
	$(VENV)-lowest/bin/palate demo

CORE_TESTS = $(addprefix tests/test_,$(addsuffix .py,interactions readers splits tokens topk popularity item_knn ials))

lint: $(VENV)/test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy palate tests benchmarks
	$(BIN)/codespell
	$(BIN)/python tests/prose.py

# The site, in build/site. It needs no network once the environment is there.
docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(VENV)/test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Chromium, with which the page of the service is tested; without it those tests are skipped.
browser:
	@command -v chromium >/dev/null || { apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium fonts-dejavu-core >/dev/null; } || echo "no chromium here, and it cannot be installed: the tests of the page are skipped"

# The libraries that the benchmarks compare with, in an environment of their own. lenskit wants torch: TORCH says which.
TORCH ?= torch
peers: .venv-peers/ready

# Kills, outages, damages, hostile requests, an hour of load: MINUTES of it, from where the last run stopped; run it until
# nothing is left. PARTS names some of them. Root for the small disks.
PARTS ?=
MINUTES ?= 18
reliability: $(VENV)/test
	$(BIN)/python -m benchmarks.reliability.run $(PARTS) --minutes $(MINUTES)

clean:
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("palate needs Python 3.11 or newer, this is " + sys.version if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# The stamps say which packages are in; they are older than pyproject.toml when it has changed.
$(VENV)/core: pyproject.toml | $(BIN)/python
	$(PIP) install --editable .
	@touch $@

$(VENV)/test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --constraint constraints.txt --editable '.[test]'
	$(PIP) install --no-deps aisfx  # it asks for numpy 1.23, but only its weights are read
	$(PIP) install --no-deps 'flwr==1.42.*'  # it asks for old versions of typer and fastapi, which its transport does not need
	@touch $(VENV)/core $@

$(VENV)/docs: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --constraint constraints.txt --editable '.[docs]'
	@touch $(VENV)/core $@

# Each dependency of the core at its lower bound: `numpy>=2.0` becomes `numpy==2.0`.
LOWEST = import re, tomllib; print(*(re.sub(r">=([^,]+).*", r"==\1", each) for each in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]))
$(VENV)-lowest/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/pip --quiet --disable-pip-version-check install $$($(PYTHON) -c '$(LOWEST)') hypothesis pandas pyarrow pytest --editable .
	@touch $@

.venv-peers/ready:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check $(TORCH) implicit irspack lenskit lightfm-next rusket
	@touch $@
