# What a person types. Everything is made inside this folder: .venv (the program), .cache (mosquitto, tools).
#   PYTHON=python3.12   the Python that makes .venv (any from 3.11 on; found by itself otherwise)
#   ARGS='...'          passed on to the program that a target runs

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup tools demo test test-vm check simulate fuzz soak bench catalogue lock clean
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

setup: $(READY) ## make .venv with the commands c5-gateway, c5-receiver, c5-certs, firmware-sim

$(READY): pyproject.toml requirements.lock packaging/setup.sh
	@PYTHON='$(PYTHON)' packaging/setup.sh $(VENV)
	@touch $@

tools: # programs that tests need, unpacked into .cache where they aren't installed; none is started behind anyone's back
	@packaging/fetch_mosquitto.sh >/dev/null
	@packaging/fetch_faketime.sh >/dev/null
	@packaging/fetch_strace.sh >/dev/null
	@packaging/fetch_libmodbus.sh >/dev/null
	@packaging/fetch_gpsd_logs.sh >/dev/null

demo: $(READY) ## the main job on this machine: presses, an outage, a summary (ARGS='--json --presses 200')
	@packaging/fetch_mosquitto.sh >/dev/null || echo 'No mosquitto to be had: the demo uses the embedded broker.' >&2
	@$(BIN)/c5-gateway demo $(ARGS)

test: $(READY) tools ## every test but the long ones (ARGS='tests/unit -x')
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not soak and not vm' $(ARGS)

test-vm: $(READY) tools ## GPIO, systemd and USB on Debian's own kernel, in an arm64 machine that QEMU emulates (SMOKE=1: a few)
	@$(BIN)/pytest -m 'vm$(if $(SMOKE), and smoke)' $(or $(ARGS),tests/vm)

check: $(READY) ## lint, format, types, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pytest -q tests/unit/test_imports.py

# Tests read the texts as they are written, whatever the language of the session.
test test-vm soak simulate fuzz: export LANGUAGE = C

simulate: $(READY) ## the gateway and C5 under faults, on a virtual clock (SEED=n | SEEDS=n HOURS=n)
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) \
		$(if $(HOURS),--hours $(HOURS)) $(ARGS)

fuzz: $(READY) ## every parser that meets foreign bytes (SECONDS=n in all | TARGET=name | SEED=n | REPEAT=file | KEEP=1)
	@$(BIN)/python -m tests.fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(if $(TARGET),--target $(TARGET)) \
		$(if $(SEED),--seed $(SEED)) $(if $(REPEAT),--repeat $(REPEAT)) $(if $(KEEP),--keep)

soak: $(READY) tools ## the long tests
	@$(BIN)/pytest -m soak $(ARGS)

bench: $(READY) tools ## what we claim, measured beside what others would use
	@$(BIN)/python -m benchmarks $(ARGS)

catalogue: $(READY) ## make the Spanish catalogue anew from the texts; names what is still to be translated
	@packaging/catalogue.sh $(BIN)

lock: $(READY) ## make the two lock files anew from pyproject.toml (newer versions: ARGS=--upgrade)
	@packaging/lock.sh $(BIN)/python $(ARGS)

clean: ## remove all that make has made
	rm -rf $(VENV) .cache build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
