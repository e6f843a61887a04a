# One line a target: `make help`.
PYTHON ?= python3
TORCH ?= torch==2.13.0
REPOSITORY ?= model_repository
RUN_FOLDER ?= .run

VENV := .venv
DEV := $(VENV)/dev/bin
PIP := -m pip --disable-pip-version-check --quiet
BALLOON := recipes/balloon-rtmdet/sdk
LOCAL = $(VENV)/gateway/bin/python -m gateway.local
WHERE = --repository $(REPOSITORY) --run-folder $(RUN_FOLDER)

.PHONY: help setup setup-dev setup-load setup-peers setup-frameworks models build build-all run run-background stop test test-frameworks check fmt generate load bench bench-peers docker-build docker-up docker-down docker-test lock clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(VENV)/gateway/.ready $(VENV)/builder/.ready $(VENV)/triton/.ready ## the three environments, from their lock files

setup-dev: setup $(VENV)/dev/.ready ## and the one for tests and checks

setup-load: $(VENV)/loadtest/.ready ## and the one that measures: Locust

setup-peers: setup-dev $(VENV)/peers/.ready ## and the one of the servers that the project is measured beside

setup-frameworks: $(VENV)/frameworks/.ready ## and the one that trains and exports OpenMMLab models (TORCH=… picks the build)

run: setup models ## Triton and the gateway; Ctrl-C ends both
	@$(LOCAL) run $(WHERE)

run-background: setup models ## the same for scripts: returns when it answers
	@$(LOCAL) run --background $(WHERE)

stop: ## end what run-background started
	@test ! -x $(VENV)/gateway/bin/python || $(LOCAL) stop $(WHERE)

models: $(REPOSITORY)/balloon/config.pbtxt ## import the models that come with the project

# Anew when the bundle, the builder or what it stands on has changed; an import of the same publishes nothing. A balloon
# that was built from its checkpoint stays: it has a build.json.
$(REPOSITORY)/balloon/config.pbtxt: $(wildcard $(BALLOON)/* builder/*.py builder/*/*.py builder/backends/*/*.py vision/*.py) \
		$(VENV)/builder/.ready
	@ls $(@D)/*/build.json >/dev/null 2>&1 || \
		$(VENV)/builder/bin/python -m builder import $(BALLOON) --name balloon --score-threshold 0.3 --repository $(REPOSITORY)
	@touch $@

build: $(VENV)/builder/.ready ## one recipe: make build MODEL=balloon-rtmdet (ARGS="--precision fp16", …)
	@test -f "recipes/$(or $(MODEL),?)/recipe.yaml" || \
		{ echo "Which recipe? make build MODEL=…, one of: $(notdir $(RECIPES))"; exit 2; }
	@$(call frameworks_for,recipes/$(MODEL))
	@$(VENV)/builder/bin/python -m builder build recipes/$(MODEL) $(ELSEWHERE) $(ARGS)

build-all: $(VENV)/builder/.ready ## every recipe, and a table of what came of it
	@$(call frameworks_for,$(RECIPES))
	@$(VENV)/builder/bin/python -m builder build $(RECIPES) $(ELSEWHERE) $(ARGS)

RECIPES := $(patsubst %/recipe.yaml,%,$(sort $(wildcard recipes/*/recipe.yaml)))
ELSEWHERE = $(if $(filter-out model_repository,$(REPOSITORY)),--repository $(REPOSITORY))
# A recipe that names a checkpoint has a framework to export it with; ONNX and bundles need none.
frameworks_for = ! grep -qs '^ *checkpoint:' $(1:%=%/recipe.yaml) || $(MAKE) -s --no-print-directory setup-frameworks

test: setup-dev models ## every test but those of the frameworks, the real Triton among them
	@$(DEV)/python -m pytest -m "not frameworks and not docker" $(ARGS)

test-frameworks: setup-dev setup-frameworks models ## those that export, infer and build with torch and OpenMMLab
	@$(DEV)/python -m pytest -m frameworks $(ARGS)

check: setup-dev ## format, lint, who imports whom, types
	@$(DEV)/ruff format --check .
	@$(DEV)/ruff check .
	@$(DEV)/lint-imports --no-logo
	@$(DEV)/mypy

fmt: setup-dev ## mend format and lint
	@$(DEV)/ruff format .
	@$(DEV)/ruff check --fix .

generate: setup-dev ## the synchronous client anew, from the asynchronous one
	@$(DEV)/python -m tests.clients.generated

load: setup-load ## a load test of the server that runs; a record and a report in loadtest/out (ARGS="--users 8 --slo 'p99<50ms'")
	@$(VENV)/loadtest/bin/python -m loadtest run $(ARGS)

bench: setup-dev models ## pixels beside mmdeploy's, gateway beside a bare loop; records in benchmarks/out
	@$(DEV)/python -m benchmarks $(ARGS)

bench-peers: setup-peers ## beside BentoML, LitServe, mosec, a plain gateway and bare loops; a record and a plot in benchmarks/out
	@$(DEV)/python -m benchmarks.peers $(ARGS)

docker-build: ## the images (COMPOSE="-f docker/compose.yaml -f …" picks other files)
	@$(DOCKER_COMPOSE) build

docker-up: ## Triton and the gateway in containers; returns when they answer
	@$(DOCKER_COMPOSE) up -d --wait

docker-down: ## end them; models stay
	@$(DOCKER_COMPOSE) down

docker-test: setup-dev ## build the images, start them, kill them, look what they may do; needs a Docker engine
	@docker info >/dev/null 2>&1 || { echo "No Docker engine answers: install and start one, see \`docker info\`."; exit 1; }
	@docker compose version >/dev/null 2>&1 || { echo "Docker's Compose plugin is missing: install docker-compose-plugin."; exit 1; }
	@$(DEV)/python -m pytest -m docker tests/docker $(ARGS)

COMPOSE ?= -f docker/compose.yaml
DOCKER_COMPOSE = REVISION="$${REVISION:-$$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)}" docker compose $(COMPOSE)

lock: $(VENV)/lock/.ready ## the lock files anew, from pyproject.toml and requirements/*.in
	@for extra in gateway builder loadtest dev; do $(UV) --extra $$extra pyproject.toml -o requirements/$$extra.txt || exit 1; done
	@$(UV) requirements/peers.in -o requirements/peers.txt
	@for name in triton frameworks device; do $(UV) --no-deps requirements/$$name.in -o requirements/$$name.txt || exit 1; done

UV := $(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command 'make lock'

clean: ## environments, logs and caches; models stay
	rm -rf $(VENV) .run .mypy_cache .ruff_cache .pytest_cache

# An environment is made anew when its lock file changes, and is ready only when the last step has succeeded.
$(VENV)/%/.ready: requirements/%.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo "Python 3.11 or 3.12 is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python's venv is missing. Try: apt install python3-venv"; exit 1; }
	@echo "setting up $(@D) from $<"
	@rm -rf $(@D) && $(PYTHON) -m venv $(@D)
	@$(or $(PRE_$*),true)
	@$(@D)/bin/python $(PIP) install $(FLAGS_$*) -r $<
	@$(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' | \
		{ read -r site; [ $* = triton ] || echo "$(CURDIR)" > "$$site/jetserve-checkout.pth"; }
	@touch $@

# Triton and OpenMMLab say more needs than they have, and some that conflict: their lists are complete as they stand.
FLAGS_triton := --no-deps --require-hashes
FLAGS_frameworks := --no-deps --require-hashes
FLAGS_gateway := --require-hashes
FLAGS_builder := --require-hashes
FLAGS_dev := --require-hashes
FLAGS_peers := --require-hashes
FLAGS_loadtest := --require-hashes
PRE_triton = $(VENV)/triton/bin/python docker/triton-cpu/preflight.py
PRE_frameworks = $(VENV)/frameworks/bin/python $(PIP) install $(TORCH) setuptools==80.10.2
