# `make run` and `make test` need Rust and a C compiler; everything else they install themselves, into .cache/ and target/.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup run release test test-cov lint fmt bench cache-eval e2e fuzz model-check faults limits-marathon docker-build docker-up docker-down docker-logs simulate update-models clean toolchain

TOOLS := .cache/tools/bin
IMAGE ?= llm-gateway

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

toolchain:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.94 or newer, see https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "cc is missing: install a C compiler, on Debian with: apt-get install gcc libc6-dev" >&2; exit 1; }

setup: toolchain ## fetch the dependencies and install the test tools
	@cargo fetch --locked
	@scripts/setup.sh

run: toolchain ## build the release and serve on port 8000; ARGS="--port 9000" passes flags
	@cargo run --locked --release --package llm-gateway -- serve $(ARGS)

release: toolchain ## build the program in target/release by a profile of itself under load: longer to build, less work for each request
	@scripts/release.sh

test: toolchain ## all checks and tests; what continuous integration runs
	@scripts/setup.sh
	@$(TOOLS)/python scripts/test.py

test-cov: toolchain ## line coverage of the Rust tests, in target/llvm-cov/html
	@scripts/setup.sh
	@scripts/coverage.sh

lint: toolchain ## the checks without the tests
	@scripts/setup.sh
	@$(TOOLS)/python scripts/test.py lint

fmt: toolchain ## format the sources
	@scripts/setup.sh
	@cargo fmt --all
	@$(TOOLS)/ruff check --quiet --select I --fix
	@$(TOOLS)/ruff format --quiet

bench: toolchain ## measure the gateway against others; see bench/
	@bench/run.sh $(ARGS)

cache-eval: toolchain ## how often the cache answers the wrong question, into docs/semantic-cache.md; ARGS="--pairs FOLDER"
	@scripts/setup.sh
	@cargo build --locked --release --package llm-gateway
	@LLM_GATEWAY_BIN=$${CARGO_TARGET_DIR:-$$PWD/target}/release/llm-gateway $(TOOLS)/python e2e/cache/evaluate.py --write $(ARGS)

e2e: toolchain ## real tokens through the gateway, from a llama.cpp server with a small model
	@scripts/setup.sh llama
	@cargo build --package llm-gateway
	@$(TOOLS)/pytest -rs e2e/llama

fuzz: toolchain ## random bytes against the wire formats, FUZZ_SECONDS (60) for each target
	@scripts/fuzz.sh

model-check: toolchain ## every order in which threads can meet in crates/policy, tried by loom
	@RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/model-check cargo test --locked --package gateway-policy --lib -- resilience::model limits::model

faults: toolchain ## the fault marathon, reconciled; ARGS=figures measures docs/reliability.md
	@scripts/faults.sh $(ARGS)

limits-marathon: toolchain ## eight gateways on one Redis, twenty times what they may admit for LIMITS_SECONDS (90)
	@scripts/setup.sh
	@LIMITS_SECONDS=$${LIMITS_SECONDS:-90} cargo test --locked --release --package llm-gateway --test front -- --nocapture shared_limits

docker-build: ## build the container image
	@docker build --tag $(IMAGE) .

docker-up: ## start the gateway and Redis in containers, on http://127.0.0.1:8000
	@docker compose up --build --detach --wait

docker-down: ## stop and remove the containers
	@docker compose down

docker-logs: ## follow the containers' logs
	@docker compose logs --follow

simulate: toolchain ## a day of three providers under each routing strategy, into docs/routing.md
	@cargo run --locked --quiet --release --package gateway-policy --example day

update-models: ## rebuild the table of models and prices from the newest release; see docs/models.md
	@python3 scripts/update-models.py $(ARGS)

clean: ## remove what was built and installed
	@rm -rf target .cache e2e/sdk/node_modules
