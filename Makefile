# One line a target: `make help`.
PYTHON ?= python3
GATEWAY_PORT ?= 8080
export GATEWAY_PORT

VENV := .venv
PIP := -m pip --disable-pip-version-check --quiet

.PHONY: help setup run run-background stop test check fmt bench import lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(VENV)/gateway/.ready $(VENV)/builder/.ready $(VENV)/triton/.ready ## the three environments, from their lock files

# An environment is made anew when its lock file changes, and is ready only when the last step has succeeded.
$(VENV)/%/.ready: requirements/%.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or 3.12 is needed; $$($(PYTHON) --version) is here: make PYTHON=python3.11 …"; exit 1; }
	@echo "setting up $(@D) from $<"
	@rm -rf $(@D) && $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python $(PIP) install --require-hashes $(if $(filter triton,$*),--no-deps) -r $<
	@$(if $(filter triton,$*),:,echo "$(CURDIR)" > $$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/jetserve-checkout.pth)
	@touch $@
