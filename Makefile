# `make` prints what there is.
.DEFAULT_GOAL := help
.PHONY: help setup run demo test slow parity check kill bench clean
ARGS ?=
RUNNER ?= .venv/bin/pytest -n 2 --dist worksteal

help: ## Print this help
	@echo "OpenEVS: the Elastic Volume Service API, self-hosted, over real block devices"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what is missing (tools by the package manager, Python packages into .venv)
	@scripts/setup run

run: setup ## Serve on http://127.0.0.1:8776; Ctrl-C stops
	@exec .venv/bin/openevs serve $(ARGS)

demo: setup ## Show the whole life of a snapshot on a real file system, with figures
	@exec .venv/bin/openevs demo $(ARGS)

test: ## Set everything up and run the tests
	@scripts/setup test
	@exec $(RUNNER) $(ARGS)

slow: ## Run the tests that take minutes
	@scripts/setup test
	@exec .venv/bin/pytest -m slow $(ARGS)

parity: ## Run OpenStack's own volume tests (Tempest) against a service started for them
	@scripts/setup test
	@exec .venv/bin/python -m tests.tempest $(ARGS)

check: ## Lint, types, imports
	@scripts/setup test
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

kill: ## Kill the service and its daemons under load, ROUNDS times each (50), and print what was found
	@scripts/setup test
	@exec .venv/bin/python -m tests.kill --target all --rounds $(or $(ROUNDS),50) $(ARGS)

bench: ## Measure what is promised about speed, as ratios
	@scripts/setup test
	@exec .venv/bin/python -m bench $(ARGS)

clean: ## Remove the environment and caches (never the data folder)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* .environments
