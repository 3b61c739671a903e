# The words people type; what they do is in scripts/. A Makefile, because make is on every
# machine that this is developed on, and nothing has to be installed to read it.
.PHONY: help test lint demo docs lock changelog

help:
	@echo "make test       the checks and the tests; more suites: ./scripts/test --help"
	@echo "make lint       ruff and mypy alone"
	@echo "make demo       the main job, played on this machine"
	@echo "make docs       the pages as a site, in build/site"
	@echo "make lock       locks/ from the dependencies in pyproject.toml"
	@echo "make changelog  what the next release will say"

test:
	./scripts/test

lint:
	./scripts/test --only-lint

demo:
	./scripts/demo

docs:
	./scripts/test --docs --site build/site

lock:
	./scripts/lock

changelog: .venv/bin/towncrier
	@.venv/bin/towncrier build --draft --version next 2>/dev/null

.venv/bin/towncrier:
	./scripts/test --only-lint
