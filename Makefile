# One virtual environment, made on first use and again only when pyproject.toml or a lock changes.
# `make demo` installs what it needs, without PyTorch; every other target installs all.
# `make PYTHON=python3.12 test` takes another interpreter. Every package is installed in the version
# of a lock and checked by its hash; `make LOCK= test` takes the newest that pyproject.toml admits
# instead, and `make lock` writes the locks anew.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
DEMO_INSTALLED := .venv/.installed-demo
LOCK ?= requirements.lock
DEMO_LOCK = $(if $(LOCK),requirements-demo.lock)
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint types check lock starter bench clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

ASK := $(BIN)/hashlens recommend --image demo-posts/pictures/cat.png \
	--caption "Sunday morning, and she finally looked at the camera" --seed catsofinstagram

demo: demo-posts/posts.jsonl  ## ask the index that ships, build one of sample posts, update it
	@echo "1. The index that ships, asked for a photo, a caption and a hashtag:"
	@$(ASK) --index data/starter
	@echo "2. An index of the sample posts, asked the same:"
	@rm -rf demo-index
	@$(BIN)/hashlens build demo-posts/posts.jsonl --index demo-index
	@$(ASK) --index demo-index
	@echo "3. Eight later posts join it, and bring a hashtag that it did not know:"
	@$(BIN)/hashlens update demo-posts/later.jsonl --index demo-index
	@$(ASK) --index demo-index

test: $(INSTALLED)  ## run the tests, on two cores
	$(BIN)/pytest -n 2 --dist loadfile

lint: $(INSTALLED)  ## check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(MAKE) types

types: $(INSTALLED)  ## check types; mypy finds the package through a link
	@mkdir -p .venv/src && ln -sfn ../.. .venv/src/hashlens
	MYPYPATH=.venv/src $(BIN)/mypy

check: lint test  ## everything a change must pass

COMPILE = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --quiet

lock:  ## resolve all dependencies anew into the two locks (needs uv)
	$(COMPILE) --extra dev --extra demo --upgrade --output-file requirements.lock
	rm -f requirements-demo.lock
	$(COMPILE) --extra demo --constraint requirements.lock --output-file requirements-demo.lock

starter: $(INSTALLED)  ## make the index that ships anew; SHARED names the folder of the collections
	$(BIN)/python -m hashlens.evaluation.assets.starter $(dir $(wildcard $(SHARED)/*/posts.jsonl)) --out data/starter

bench: $(INSTALLED)  ## measure speed by size, beside limits and peers; POSTS names folders of posts
	$(BIN)/python -m hashlens.evaluation.performance.speed $(or $(POSTS),$(error name folders of posts: make bench POSTS="FOLDER ...")) --out bench

clean:  ## remove what was made here, except .venv
	rm -rf demo-posts demo-index bench build dist *.egg-info .coverage
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find indexer retriever evaluation tests data -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "found $$($(PYTHON) --version 2>/dev/null || echo no $(PYTHON)), expected Python" \
			"3.11 or newer: name one, as in make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv

$(INSTALLED): pyproject.toml $(LOCK) | $(BIN)/python
ifdef LOCK
	$(PIP) --require-hashes -r $(LOCK)
	$(PIP) --no-deps --no-build-isolation -e .
else
	$(PIP) -e ".[dev,demo]"
endif
	touch $@ $(DEMO_INSTALLED)

$(DEMO_INSTALLED): pyproject.toml $(DEMO_LOCK) | $(BIN)/python
ifdef LOCK
	$(PIP) --require-hashes -r $(DEMO_LOCK)
	$(PIP) --no-deps --no-build-isolation -e .
else
	$(PIP) -e ".[demo]"
endif
	touch $@

demo-posts/posts.jsonl: $(wildcard data/sample/*) | $(DEMO_INSTALLED)
	rm -rf demo-posts
	$(BIN)/hashlens sample demo-posts
