# `make help` says what there is. Each target installs what it lacks (.ci/setup) and says so first.

SHELL := /bin/bash
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Asked anew in each recipe: `setup` may just have brought it.
CARGO = $(shell .ci/setup cargo)
DENY = PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo-deny

# What `make run` runs.
SCENARIO ?= quick
REPORT ?= target/report
RUN_ARGS ?= --local run $(SCENARIO) --report $(REPORT)
# What `make test` tests: TEST_ARGS="-p ssts-agent guard" is one crate's tests of one name.
TEST_ARGS ?= --workspace
# What `make bench` measures: some of load, times, idle, cpu, memory, disk, network, http, record, probes, metrics, safety; all of them if empty.
BENCH ?=

.PHONY: help run build test lint bench setup clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build everything, burn this machine's CPU and disk for some 20 s, and report
	$(TARGET)/release/sstsctl $(RUN_ARGS)

build: ## build sstsd and sstsctl as they are shipped, in target/release
	@.ci/setup build
	$(CARGO) build --release --locked -p ssts-agent -p ssts-ctl

# The stories need both programs. Built with all targets, as the tests resolve features: without, cargo would build the dependencies twice.
test: ## run all tests, those against a lab kernel included
	@.ci/setup build test
	$(CARGO) build --workspace --all-targets --locked
	$(CARGO) test --locked $(TEST_ARGS)

lint: ## check format, lints, scripts, and the dependencies' licences and advisories
	@.ci/setup build lint
	$(CARGO) fmt --check
	shellcheck .ci/run .ci/setup tests/lab/vm
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(DENY) --log-level warn --locked check bans licenses sources
	@if fetch=$$($(DENY) --locked fetch db 2>&1) && ! grep -q 'failed to fetch' <<<"$$fetch"; then \
	  set -x; $(DENY) --log-level warn --locked check --disable-fetch advisories; \
	else \
	  printf '%s\n' "$$fetch" '' 'NOT CHECKED: security advisories. Their database, github.com/RustSec/advisory-db, cannot be reached (above).' '' >&2; \
	fi

bench: build ## measure the burners against stress-ng, stressapptest, fio, iperf3, sockperf and wrk
	@.ci/setup bench
	$(CARGO) bench --locked -p ssts-tests --bench peers -- $(BENCH)

setup: ## only install what run, test, lint and bench need
	@.ci/setup build test lint bench
	@echo 'setup: all there'

clean: ## remove target/, with the tools and the lab kernel in it
	rm -rf target
