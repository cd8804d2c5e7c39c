# The only entry for people and for CI. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
MEMBERS := shared $(wildcard services/*) tools/stack tools/terminal_simulator

help: ## this list
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(STAMP) ## the virtual environment in .venv, from hash-pinned requirements

$(STAMP): requirements/bootstrap.txt requirements/dev.txt $(wildcard shared/pyproject.toml services/*/pyproject.toml tools/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: set PYTHON=python3.12, or install it (Debian: apt-get install python3 python3-venv)"; exit 1; }
	@echo "installing into .venv …"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "the venv module is missing (Debian: apt-get install python3-venv)"; exit 1; }
	@$(BIN)/python -m pip --disable-pip-version-check -q install --require-hashes -r requirements/bootstrap.txt
	@$(BIN)/uv pip sync -q --python $(BIN)/python --require-hashes requirements/dev.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation $(addprefix -e ./,$(MEMBERS))
	@touch $@

run: $(STAMP) ## the whole platform on this machine, with simulated terminals and a live summary (Ctrl-C ends it)
	@exec $(BIN)/python -m stack run $(ARGS)

up: $(STAMP) ## the same without simulated terminals
	@exec $(BIN)/python -m stack up $(ARGS)

unit: $(STAMP) ## the fast tests: no server is started
	$(BIN)/python -m pytest tests/unit tests/vectors tests/architecture $(ARGS)

# Most tests wait for servers: three files at a time take 10 minutes on two cores where one after another takes 22.
# Each of the workers starts parts of its own; WORKERS=0 runs all in one process.
WORKERS ?= 3
test: $(STAMP) ## every test a change must pass; starts the real parts that it needs
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: $(STAMP) ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy shared/src services/*/src tools/*/src tests examples tools/k8s_check
	$(BIN)/lint-imports
	$(BIN)/yamllint -s contracts deploy
	@$(MAKE) --no-print-directory proto-check

fmt: $(STAMP) ## put every file into the one format
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format .

check: lint test ## what CI runs

GENERATED := shared/src/shared/protocol/generated
proto: $(STAMP) ## generate the message code from proto/
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=$(GENERATED) --pyi_out=$(GENERATED) device/v1/messages.proto

proto-check: $(STAMP) ## fail where the committed message code is not what proto/ gives
	@out=$$(mktemp -d) && trap 'rm -rf "$$out"' EXIT && \
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out="$$out" --pyi_out="$$out" device/v1/messages.proto && \
	diff -r "$$out/device/v1" $(GENERATED)/device/v1 -x __init__.py -x __pycache__ || { echo "run make proto and commit what it writes"; exit 1; }

asyncapi-check: ## read contracts/asyncapi.yaml by AsyncAPI's own parser (needs npm; not a part of lint)
	@npm install -s --prefix .cache/asyncapi --no-package-lock --ignore-scripts @asyncapi/parser@3.6.3
	@node contracts/validate.mjs

k8s-check: $(STAMP) ## build and validate every overlay of deploy/k8s (needs go, npm and node; fetches 200 MB once)
	$(BIN)/python -m tools.k8s_check
	$(BIN)/python -m pytest tools/k8s_check/tests

IMAGE_TOOL ?= $(firstword $(foreach tool,docker podman buildah,$(if $(shell command -v $(tool)),$(tool))))
IMAGE_PREFIX ?= site-access
IMAGE_TAG ?= $(shell git rev-parse --short HEAD)
images: ## one image a service, by docker, podman or buildah
	@test -n "$(IMAGE_TOOL)" || { echo "docker, podman or buildah is needed"; exit 1; }
	@for service in $(notdir $(wildcard services/*)); do \
	  $(IMAGE_TOOL) build $(if $(IMAGE_BASE),--build-arg BASE=$(IMAGE_BASE)) -f services/$$service/Dockerfile -t $(IMAGE_PREFIX)/$$service:$(IMAGE_TAG) . || exit 1; done

lock: $(STAMP) ## renew requirements/*.txt from the pyproject files (hashes, no index address)
	$(BIN)/uv lock -q --upgrade
	$(BIN)/uv export -q --all-packages --all-groups --no-emit-workspace --no-header -o requirements/dev.txt > /dev/null
	for package in tcp-ingress session-service attendance-writer task-api console-service; do \
	  $(BIN)/uv export -q --package $$package --no-dev --no-emit-workspace --no-header -o requirements/$$package.txt > /dev/null; done
	grep -A40 '^uv==' requirements/dev.txt | awk 'NR == 1 || /^    /{print} NR > 1 && !/^    /{exit}' > requirements/bootstrap.txt

sealing-key: ## print a new key for SEALING_KEYS (design: sealed at rest)
	@$(PYTHON) -c "import base64, secrets; print('k1:' + base64.b64encode(secrets.token_bytes(32)).decode())"

clean: ## remove what make made: .venv, caches, .run and stored data
	rm -rf .venv .cache .run .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

.PHONY: help install run up unit test lint fmt check proto proto-check asyncapi-check k8s-check images lock sealing-key clean
