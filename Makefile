# The only entry for people and for CI. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
MEMBERS := shared $(wildcard services/*) tools/stack tools/synthetic_terminal tools/terminal_simulator

help: ## this list
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

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

# For each target; one after the other.
SECONDS ?= 60
fuzz: $(STAMP) ## coverage-guided fuzzing of all that reads foreign bytes: make fuzz SECONDS=600 TARGETS=frames
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(TARGETS)

# Those of one module or one store by WORKERS at a time, each worker with parts of its own. Those of whole processes one
# after another: they measure times, hang servers and take whole cores, and on two cores one beside another failed in
# three runs of four. With ARGS all that they choose is run in one process.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest
SMALL_TESTS := tests/unit tests/vectors tests/architecture tests/contract
test: $(STAMP) ## every test a change must pass; starts the real parts that it needs
	$(if $(ARGS),$(PYTEST) $(ARGS),$(PYTEST) -n $(WORKERS) --dist loadfile $(SMALL_TESTS) && $(PYTEST) $(addprefix --ignore=,$(SMALL_TESTS)))

chaos-smoke: $(STAMP) ## a handful of faults, and the builds that are broken on purpose (seven minutes; a part of test, too)
	$(BIN)/python -m pytest tests/chaos $(ARGS)

chaos: $(STAMP) ## every fault on real processes, judged by the terminals' own ledger (about 50 minutes; root fills up disks, too)
	$(BIN)/python -m tests.chaos broken
	$(BIN)/python -m tests.chaos faults $(ARGS)
	$(BIN)/python -m tests.chaos overload

soak: $(STAMP) ## memory, descriptors, tasks and latency stay flat: make soak MINUTES=30
	$(BIN)/python -m tests.chaos soak --minutes $(or $(MINUTES),30) $(ARGS)

bench: $(STAMP) ## what an operation costs, as a table and as JSON (Linux; needs go; about 50 minutes)
	$(BIN)/python -m tests.bench $(ARGS)

bench-check: $(STAMP) ## fails where an operation costs 15 % more than in the baseline (Linux; needs go, valgrind; two minutes)
	$(BIN)/python -m tests.bench.check $(ARGS)

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

k8s-check: $(STAMP) ## build every overlay of deploy/k8s, list what it renders, validate it (a part of test, too)
	$(BIN)/python -m tools.k8s_check

IMAGE_TOOL ?= $(firstword $(foreach tool,docker podman buildah,$(if $(shell command -v $(tool)),$(tool))))
IMAGE_PREFIX ?= site-access
IMAGE_TAG ?= $(shell git rev-parse --short HEAD)
# IMAGE_BASE, IMAGE_BUILDER: instead of the Dockerfiles' own. IMAGE_ARGS: what else the build needs to reach an index.
images: ## one image a service and the synthetic terminal's, by docker, podman or buildah
	@test -n "$(IMAGE_TOOL)" || { echo "docker, podman or buildah is needed"; exit 1; }
	@for file in $(wildcard services/*/Dockerfile tools/*/Dockerfile); do \
	  name=$$(basename $$(dirname $$file) | tr _ -); \
	  $(IMAGE_TOOL) build $(if $(IMAGE_BASE),--build-arg BASE=$(IMAGE_BASE)) \
	    $(if $(IMAGE_BUILDER),--build-arg BUILDER=$(IMAGE_BUILDER)) $(IMAGE_ARGS) \
	    -f $$file -t $(IMAGE_PREFIX)/$$name:$(IMAGE_TAG) . || exit 1; done

images-check: $(STAMP) ## run the images as Kubernetes would, with a terminal signing in (needs docker or podman)
	IMAGE_TOOL=$(IMAGE_TOOL) IMAGE_PREFIX=$(IMAGE_PREFIX) IMAGE_TAG=$(IMAGE_TAG) \
	  $(BIN)/python -m pytest tests/images/check_images.py $(ARGS)

image-base: ## small bases from Debian's packages, where no image registry is reached (needs mmdebstrap)
	@test -n "$(IMAGE_TOOL)" && command -v mmdebstrap > /dev/null || { echo "mmdebstrap, and docker, podman or buildah are needed"; exit 1; }
	@deploy/docker/base.sh "$(IMAGE_TOOL)" $(IMAGE_PREFIX) $(IMAGE_MIRROR)

RELEASE := .cache/release
$(RELEASE)/.installed: requirements/release.txt $(STAMP)
	@$(BIN)/uv venv -q --clear --python $(BIN)/python $(RELEASE)
	@$(BIN)/uv pip sync -q --python $(RELEASE)/bin/python --require-hashes requirements/release.txt
	@touch $@

SBOM_FOLDER ?= dist/sbom
sbom: $(RELEASE)/.installed ## a CycloneDX SBOM of each of requirements/*.txt, in dist/sbom; the images have theirs within
	@mkdir -p $(SBOM_FOLDER)
	@for file in $(wildcard requirements/*.txt); do \
	  name=$$(basename $$file .txt); project=$$(grep -lx "name = \"$$name\"" services/*/pyproject.toml tools/*/pyproject.toml || :); \
	  $(RELEASE)/bin/python -W ignore -m cyclonedx_py requirements --output-reproducible \
	    $${project:+--pyproject $$project} -o $(SBOM_FOLDER)/$$name.cdx.json $$file || exit 1; done

# Those that hold everything: dev.txt is the services' files together, and a test holds it to that.
AUDITED ?= requirements/dev.txt requirements/release.txt $(wildcard tests/*/requirements.txt tools/*/requirements/*.txt)
AUDIT_ACCEPTED ?= requirements/audit-accepted
audit: $(RELEASE)/.installed ## known vulnerabilities of all locked packages, as the package index's service knows them
	@failed=; for file in $(AUDITED); do echo "$$file"; \
	  $(RELEASE)/bin/pip-audit --strict --disable-pip --progress-spinner off $(AUDIT_ARGS) -r $$file \
	    $$(awk '/^[^#]/{print "--ignore-vuln", $$1}' $(AUDIT_ACCEPTED)) || failed=1; done; \
	  test -z "$$failed" || { echo "not passed: something is vulnerable, or the service could not be asked of it (try AUDIT_ARGS='-s osv')"; exit 1; }

lock: $(STAMP) ## renew requirements/*.txt from the pyproject files (hashes, no index address)
	$(BIN)/uv lock -q --upgrade
	$(BIN)/uv export -q --all-packages --all-groups --no-emit-workspace --no-header -o requirements/dev.txt > /dev/null
	for package in tcp-ingress session-service attendance-writer task-api console-service synthetic-terminal; do \
	  $(BIN)/uv export -q --package $$package --no-dev --no-emit-workspace --no-header -o requirements/$$package.txt > /dev/null; done
	$(BIN)/uv pip compile -q --upgrade --generate-hashes --no-header --universal --python-version 3.11 requirements/release.in -o requirements/release.txt
	grep -A40 '^uv==' requirements/dev.txt | awk 'NR == 1 || /^    /{print} NR > 1 && !/^    /{exit}' > requirements/bootstrap.txt

sealing-key: ## print a new key for SEALING_KEYS (design: sealed at rest)
	@$(PYTHON) -c "import base64, secrets; print('k1:' + base64.b64encode(secrets.token_bytes(32)).decode())"

clean: ## remove what make made: .venv, caches, .run and stored data
	rm -rf .venv .cache .run dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

.PHONY: help install run up unit fuzz chaos-smoke chaos soak bench bench-check test lint fmt check proto proto-check asyncapi-check k8s-check images images-check image-base sbom audit lock sealing-key clean
