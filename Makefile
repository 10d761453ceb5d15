# Everything a newcomer, a developer and CI do. `make` alone lists it.
PYTHON ?= python3
BIN := .venv/bin
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help run gpu whisper mic fleet test examples boot lint docs proto lock clean

help: ## list what can be made
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

run: .venv/.base ## start a node, place a first call to it, go on serving
	$(BIN)/voicefleet demo

gpu: .venv/.base ## on a machine with an NVIDIA GPU: add Chatterbox Turbo, and torch for CUDA 12.8
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --require-hashes -r requirements/chatterbox.txt -r requirements/gpu.txt

whisper: .venv/.base ## add faster-whisper, another engine for recognition (VOICE_STT_ENGINE)
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --require-hashes -r requirements/faster-whisper.txt

mic: .venv/.base ## add a microphone and a loudspeaker to `voicefleet call --mic`; also needs PortAudio (libportaudio2)
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --require-hashes -r requirements/mic.txt

fleet: .venv/.base ## where you deploy from: add the CDK app's packages and the cdk program (needs Node)
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements/infra.txt
	npm ci --no-fund --no-audit --prefix infra

test: .venv/.torch .venv/.checkov ## run every test but the boots
	tests/support/system-packages.sh libgomp1 openssh-server packer systemd nftables iproute2 faketime chromium
	$(BIN)/voicefleet models pull
	$(BIN)/pytest --cov $(PYTEST)

examples: .venv/.examples ## call a node with the examples for LiveKit Agents and pipecat (installs a gigabyte)
	$(BIN)/voicefleet models pull
	$(BIN)/pytest -m examples tests/integration $(PYTEST)

boot: .venv/.dev ## boot the machine image under QEMU, as root: first start, reboot, faults (an hour)
	tests/support/system-packages.sh mmdebstrap qemu-system-x86 qemu-utils socat
	$(BIN)/voicefleet models pull
	$(BIN)/pytest -m boot tests/image $(PYTEST)

lint: .venv/.torch ## check style, types and which room imports which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

docs: .venv/.dev ## make from the code: docs/metrics.md, settings.md, events.md, asyncapi.yaml
	$(BIN)/python -m server.docs

proto: .venv/.dev ## make the gRPC code from server/workers/speech.proto
	$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. --grpc_python_out=. server/workers/speech.proto

lock: .venv/.dev ## resolve pyproject.toml into hash-pinned requirements/
	$(COMPILE) requirements/bootstrap.in -o requirements/bootstrap.txt
	$(COMPILE) pyproject.toml -o requirements/base.txt
	$(COMPILE) pyproject.toml requirements/torch.in --extra chatterbox --overrides requirements/overrides.in -c requirements/base.txt -o requirements/chatterbox.txt
	$(COMPILE) pyproject.toml --extra faster-whisper --overrides requirements/overrides.in -c requirements/base.txt -o requirements/faster-whisper.txt
	$(COMPILE) pyproject.toml --extra mic -c requirements/base.txt -o requirements/mic.txt
	$(COMPILE) requirements/gpu.in -c requirements/base.txt -c requirements/chatterbox.txt -o requirements/gpu.txt
	$(COMPILE) pyproject.toml --extra infra -c requirements/base.txt -o requirements/infra.txt
	$(COMPILE) requirements/checkov.in -o requirements/checkov.txt
	$(COMPILE) examples/python/livekit.in -o examples/python/livekit.txt
	$(COMPILE) examples/python/pipecat.in -o examples/python/pipecat.txt
	$(COMPILE) pyproject.toml --extra dev --extra infra -c requirements/infra.txt -c requirements/bootstrap.txt -c requirements/base.txt -c requirements/chatterbox.txt -o requirements/dev.txt

clean: ## remove the environment
	rm -rf .venv

.venv/.base: requirements/bootstrap.txt requirements/base.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 13) else "Python 3.11 or 3.12 is needed; got " + sys.version.split()[0] + ". Name one with: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements/base.txt
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.base requirements/dev.txt
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

# The extras that nodes may have: faster-whisper, and Chatterbox Turbo beside torch for the CPU, unless `make gpu` has been
# here. pip takes the build of torch that this machine is set up to take. torchaudio's compiled part wants CUDA's
# libraries; the rest works without it.
.venv/.torch: .venv/.dev requirements/chatterbox.txt requirements/faster-whisper.txt requirements/gpu.txt
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --require-hashes -r requirements/chatterbox.txt -r requirements/faster-whisper.txt
	$(BIN)/python -m pip install --quiet --no-warn-conflicts 'torch>=2.10,<=2.13'
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --require-hashes -c requirements/gpu.txt torchaudio==2.10.0
	$(BIN)/python -c 'import torchaudio' 2>/dev/null || rm .venv/lib/python3.*/site-packages/torchaudio/lib/*.so
	@touch $@

# An environment of its own: checkov pins other versions of what we need, an old boto3 among them.
.venv/.checkov: .venv/.base requirements/checkov.txt
	$(PYTHON) -m venv .venv/checkov
	$(BIN)/uv pip install --quiet --python .venv/checkov/bin/python --require-hashes -r requirements/checkov.txt
	@touch $@

# Environments of their own, as whoever runs the examples has them.
.venv/.examples: .venv/.dev examples/python/livekit.txt examples/python/pipecat.txt
	for name in livekit pipecat; do \
		$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv/$$name && \
		$(BIN)/uv pip install --quiet --python .venv/$$name/bin/python --require-hashes -r examples/python/$$name.txt || exit 1; \
	done
	@touch $@
