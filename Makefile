# Everything a newcomer needs is `make run` and `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PY_VENV := tests/py/.venv
PUBSUB := tests/realtime-pubsub
BIN := $(CURDIR)/target/release/fanfare
export FANFARE_BIN := $(BIN)

.PHONY: help run test setup build lint deny fuzz-build fmt unit house js abuse py pubsub crash test-crash test-autobahn bench

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: ## Check what is needed, install what can be
	@bash tests/house/setup.sh

build: setup
	cargo build --release --locked -p fanfare

run: build ## Start a development server on 127.0.0.1:8080
	$(BIN) serve --dev --listen 127.0.0.1:8080 --data fanfare-data

test: setup lint house unit build js abuse py pubsub crash ## Run every test

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

deny: ## What may come into the tree: licences, sources, known weaknesses (needs cargo-deny)
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: cargo install --locked cargo-deny" >&2; exit 1; }
	cargo deny check

fuzz-build: ## Compile the fuzz targets with the stable compiler; running them needs cargo-fuzz and nightly
	cd fuzz && cargo check

fmt: ## Format the code
	cargo fmt --all

house: ## File sizes and directions between crates
	python3 tests/house/check.py

unit:
	cargo test --workspace --locked

js: build
	cd tests/js && npm ci --no-audit --no-fund && npm test

abuse: build
	cd tests/abuse && npm test

py: build
	test -x $(PY_VENV)/bin/pytest || { python3 -m venv $(PY_VENV) && $(PY_VENV)/bin/pip install -q -r tests/py/requirements.txt; }
	cd tests/py && .venv/bin/pytest -q

pubsub: build
	cd $(PUBSUB) && npm ci --no-audit --no-fund && npm test
	test -x $(PUBSUB)/py/.venv/bin/pytest || { python3 -m venv $(PUBSUB)/py/.venv && $(PUBSUB)/py/.venv/bin/pip install -q -r $(PUBSUB)/py/requirements.txt; }
	cd $(PUBSUB)/py && .venv/bin/pytest -q

crash: build
	cd tests/crash && CYCLES=10 npm test

test-crash: build ## The checker's proof, then 200 kills while publishing; nothing acknowledged may be lost
	cd tests/crash && CYCLES=200 npm test

test-autobahn: ## WebSocket conformance with Autobahn's fuzzing client
	bash tests/autobahn/run.sh

bench: build ## Measure the server beside the raw baseline
	$(BIN) bench suite --out target/bench.md
