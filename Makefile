# A fresh machine needs git, make and Python >= 3.12; .ci/find-python looks for it.
SHELL := /bin/sh
BIN := .venv/bin
DEMO_DATA ?= runs/data
WORKERS ?= 2

.PHONY: demo test lint types pytest slow smoke reports setup clean

demo: .venv/installed  ## train networks on true and on random labels, about a minute
	@test -f $(DEMO_DATA)/digits/1.0.0/dataset_info.json \
	  || $(BIN)/python -m rethink.prepare digits --data_dir=$(DEMO_DATA)
	$(BIN)/python -m rethink.sweep --config=configs/demo.py \
	  --data_dir=$(DEMO_DATA)

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
	@test -f $(DEMO_DATA)/digits/1.0.0/dataset_info.json \
	  || $(BIN)/python -m rethink.prepare digits --data_dir=$(DEMO_DATA)
	@for config in $(SMOKE); do \
	  $(BIN)/python -m rethink.sweep --config=configs/$$config.py:smoke \
	    --data_dir=$(DEMO_DATA) || exit 1; \
	done
	$(BIN)/python -m rethink.report --out=runs/reports

reports: .venv/installed  ## make the committed reports from the committed runs
	$(BIN)/python -m rethink.report --runs=reports/runs --out=reports

setup: .venv/installed  ## make only the environment

.venv/installed: pyproject.toml constraints.txt
	@python=$$(.ci/find-python) || exit 1; \
	echo "environment: .venv, made by $$($$python --version)"; \
	rm -rf .venv && $$python -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv
