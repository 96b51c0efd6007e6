# Each target does all its own set-up: a machine needs only Python (3.11 or later) and make.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin
DATA ?= ../shared/data/trivago_impressions
BENCHMARKS ?= ../shared/benchmarks

.PHONY: install demo test lint trivago trivago-compare correction benchmark clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: install  ## the whole story on the synthetic marketplace, about two minutes, ends in runs/demo/report.html
	$(RUN)/galleryrank demo --out runs/demo

test: install  ## the whole test suite, warnings as errors
	$(RUN)/python -m pytest

lint: install  ## style and types
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

clean:
	rm -rf $(VENV) runs build *.egg-info
