# A fresh machine needs git, make and Python >= 3.12; .ci/find-python looks for it.
SHELL := /bin/sh
BIN := .venv/bin
# Where every other command looks for data, too: they are prepared once.
DATA := $${TFDS_DATA_DIR:-$$HOME/tensorflow_datasets}
WORKERS ?= 2

.PHONY: demo test lint types pytest slow smoke reports setup clean

demo: .venv/installed  ## train networks on true and on random labels, about a minute
	@test -f "$(DATA)/digits/1.0.0/dataset_info.json" \
	  || $(BIN)/python -m rethink.prepare digits
	$(BIN)/python -m rethink.sweep --config=configs/demo.py

test: lint types pytest  ## all checks that a commit has to pass

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/basedpyright --pythonpath $(BIN)/python

pytest: .venv/installed
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -q

slow: .venv/installed  ## run the slow tests, minutes on two cores
	$(BIN)/pytest -n $(WORKERS) -q -m "slow and not gpu" --durations=10

SMOKE := table1_cifar10 fig1_randomization fig2_implicit table4_random_labels \
  memorize table3_kernels kernel_curves interpolants expressivity rademacher \
  table2_imagenet imagenet_sample mlp_fit

smoke: .venv/installed  ## run a small variant of every experiment and make the page
	@test -f "$(DATA)/digits/1.0.0/dataset_info.json" \
	  || $(BIN)/python -m rethink.prepare digits
	@for config in $(SMOKE); do \
	  $(BIN)/python -m rethink.sweep --config=configs/$$config.py:smoke \
	    || exit 1; \
	done
	$(BIN)/python -m rethink.report --out=runs/reports

reports: .venv/installed  ## make the committed reports from the committed runs
	$(BIN)/python -m rethink.report --runs=reports/runs --out=reports

setup: .venv/installed  ## make only the environment

# An environment that is there is never deleted: it may hold somebody's JAX for
# CUDA, or run something. What is missing is installed into it.
.venv/installed: pyproject.toml constraints.txt
	@if [ -e .venv ] || [ -L .venv ]; then \
	  $(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	    echo "make: .venv is no environment with pip; move it away, or remove it" \
	      "with \`make clean\`, and run the same command again" >&2; exit 1; }; \
	  echo "environment: .venv, brought up to date"; \
	else \
	  python=$$(.ci/find-python) || exit 1; \
	  echo "environment: .venv, made by $$($$python --version)"; \
	  $$python -m venv .venv || { rm -rf .venv; exit 1; }; \
	fi
	$(BIN)/python -m pip install -q --disable-pip-version-check \
	  -c constraints.txt -e '.[dev]'
	@touch $@

clean:  ## remove the environment, or the link to it
	rm -rf .venv
