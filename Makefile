# Everything runs in .venv, which is made on first use with the pinned versions.
PYTHON ?= python3
BIN := .venv/bin
SMOKE := --configfile config/presets/smoke.yaml
# "True" for a Python that can make the environment; else what is said of it.
USABLE = $(shell $(PYTHON) -c 'import sys, ensurepip, venv; print(sys.version_info >= (3, 11))' 2>/dev/null)
FOUND = $(shell { $(PYTHON) --version || true; } 2>&1)

.PHONY: reproduce smoke more-seeds test nightly codes docs slurm bench bench-statistics \
	bench-inference lint \
	reference release-assets report snakemake-report

reproduce: .venv/installed  ## every table and figure
	$(BIN)/snakemake --cores all

smoke: .venv/installed  ## the same graph at toy size, in results-smoke/
	$(BIN)/snakemake --cores all $(SMOKE)

more-seeds: .venv/installed  ## one more seed for ABLATION=name, or SEEDS=n in all, and only those runs
	$(BIN)/python -m pesloss more-seeds $(ABLATION) $(if $(SEEDS),--to $(SEEDS))
	$(BIN)/snakemake --cores all

test: .venv/installed  ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

nightly: .venv/installed  ## the whole test suite, laws with a small and a full size at full size
	$(BIN)/python -m pytest --nightly -n 2 --dist loadfile --no-loadscope-reorder

codes: .venv/codes  ## the training codes that our losses are checked against, into .venv

docs: .venv/docs  ## the documentation as a site that opens offline, docs/_build/html/index.html
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

slurm: .venv/slurm  ## Snakemake's plugin for Slurm, into .venv; docs/cluster.md

bench: .venv/installed  ## a training's speed against SchNetPack's own trainer, and how its cost grows
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pesloss.benchmarks.training results/reference/benchmarks
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pesloss.benchmarks.scaling results/reference/benchmarks

bench-statistics: .venv/installed  ## the estimators against the Cramér–Rao bound, and a million structures
	$(BIN)/python -m pesloss.benchmarks.scales results/reference/benchmarks

bench-inference: .venv/installed  ## coverage of intervals, false verdicts and power on simulated errors
	$(BIN)/python -m pesloss.benchmarks.intervals results/reference/benchmarks

lint: .venv/installed  ## style and types alone; part of the tests too
	$(BIN)/python -m pytest tests/test_tooling.py

reference: .venv/installed  ## keep the results as results/reference/ and write the README's tables
	$(BIN)/python -m pesloss.report.reference

release-assets: .venv/installed  ## every table, figure and page of the results in results/release.zip
	$(BIN)/python -m pesloss.report.assets

report: .venv/installed  ## results/report/index.html and report.zip, to be opened offline
	$(BIN)/snakemake --cores all results/report.zip

snakemake-report: .venv/installed  ## report.zip as Snakemake makes it: rules, times, provenance
	$(BIN)/snakemake --report report.zip

# An installation that was cut short is begun anew: its mark is still called unfinished.
.venv/installed: requirements.txt constraints.txt pyproject.toml
	$(if $(filter True,$(USABLE)),,$(error Python 3.11 or newer with venv is needed, $(PYTHON) is \
		"$(FOUND)"; name another: make PYTHON=python3.12))
	$(PYTHON) -m venv $(if $(wildcard .venv/unfinished),--clear) .venv
	touch .venv/unfinished
	$(BIN)/python -m pip install --quiet --requirement requirements.txt --constraint constraints.txt
	$(BIN)/python -m pip install --quiet --no-deps schnetpack==2.1.1 --editable .
	mv .venv/unfinished $@

.venv/codes: .venv/installed constraints-codes.txt
	$(BIN)/python -m pip install --quiet --requirement requirements.txt --editable ".[codes]" \
		--constraint constraints.txt --constraint constraints-codes.txt
	touch $@

.venv/docs: .venv/installed constraints-docs.txt
	$(BIN)/python -m pip install --quiet --requirement requirements.txt --editable ".[docs]" \
		--constraint constraints.txt --constraint constraints-docs.txt
	touch $@

.venv/slurm: .venv/installed constraints-slurm.txt
	$(BIN)/python -m pip install --quiet --requirement requirements.txt --editable ".[slurm]" \
		--constraint constraints.txt --constraint constraints-slurm.txt
	touch $@
