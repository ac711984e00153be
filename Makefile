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
# What `make bench` measures: some of load, times, idle, cpu, memory, disk, network, http, record, probes, metrics, watch, safety, history, fleet; all of them if empty.
BENCH ?=

.PHONY: help run build test lint bench setup clean install uninstall deb

# Where `make install` puts things. A package is put together in DESTDIR.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR ?=
# Which build is installed: release, or debug for tests.
BUILD ?= release
# Debian's packages have their own folder for zsh.
ZSH ?= share/zsh/site-functions
# -s strips.
STRIP ?=
BUILT = $(TARGET)/$(BUILD)
TO = $(DESTDIR)$(PREFIX)
# What `make deb` is told beside, such as --deb-version.
DEB_ARGS ?=
UNITS = sstsd.service sstsd.socket
# All that `make install` puts below the prefix, folders of man pages and documents aside.
INSTALLED = bin/sstsd bin/sstsctl $(UNITS:%=lib/systemd/system/%) lib/systemd/system-preset/50-ssts.preset \
	lib/sysusers.d/ssts.conf lib/tmpfiles.d/ssts.conf share/bash-completion/completions/sstsctl \
	$(ZSH)/_sstsctl share/fish/vendor_completions.d/sstsctl.fish

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build everything, burn this machine's CPU and disk for some 20 s, and report
	$(TARGET)/release/sstsctl $(RUN_ARGS)

build: ## build sstsd and sstsctl as they are shipped, in target/release
	@.ci/setup build
	$(CARGO) build --release --locked -p ssts-agent -p ssts-ctl

# The stories need both programs. Built with all targets, as the tests resolve features: without, cargo would build the dependencies twice.
test: ## run all tests, those against a lab kernel included
	@.ci/setup build test
	$(CARGO) build --workspace --all-targets --locked
	@: >$(TARGET)/second-tries
	SECOND_TRIES=$(abspath $(TARGET))/second-tries $(CARGO) test --locked --no-fail-fast --config 'target."cfg(all())".runner="$(CURDIR)/.ci/twice"' $(TEST_ARGS)
	@[[ ! -s $(TARGET)/second-tries ]] || \
	  { printf '\nPASSED ONLY AT THE SECOND TRY, each a defect to be looked into:\n'; sort $(TARGET)/second-tries; } >&2

lint: ## check format, lints, scripts, and the dependencies' licences and advisories
	@.ci/setup build lint
	$(CARGO) fmt --check
	shellcheck .ci/run .ci/setup .ci/twice tests/lab/vm systemd/debian/*
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(DENY) --log-level warn --locked check bans licenses sources
	@if fetch=$$($(DENY) --locked fetch db 2>&1) && ! grep -q 'failed to fetch' <<<"$$fetch"; then \
	  set -x; $(DENY) --log-level warn --locked check --disable-fetch advisories; \
	else \
	  printf '%s\n' "$$fetch" '' 'NOT CHECKED: security advisories. Their database, github.com/RustSec/advisory-db, cannot be reached (above).' '' >&2; \
	fi

bench: build ## measure the burners against stress-ng, stressapptest, fio, iperf3, sockperf, wrk and ansible
	@.ci/setup bench
	$(CARGO) bench --locked -p ssts-tests --bench peers -- $(BENCH)

# As whoever may write there, after `make build`: nothing is compiled as root, and nothing is started.
install: ## install what `make build` built: programs, units, man pages, completions (PREFIX, DESTDIR)
	@for program in sstsd sstsctl; do [[ -x $(BUILT)/$$program ]] || \
	  { echo "$(BUILT)/$$program is not there: run 'make build' first" >&2; exit 1; }; done
	install -D $(STRIP) -m 755 -t $(TO)/bin $(BUILT)/sstsd $(BUILT)/sstsctl
	install -d $(TO)/lib/systemd/system
	for unit in $(UNITS); do \
	  sed 's|/usr/bin/|$(PREFIX)/bin/|; s|/usr/share/|$(PREFIX)/share/|' systemd/$$unit >$(TO)/lib/systemd/system/$$unit; done
	install -D -m 644 systemd/ssts.preset $(TO)/lib/systemd/system-preset/50-ssts.preset
	install -D -m 644 systemd/ssts.sysusers.conf $(TO)/lib/sysusers.d/ssts.conf
	install -D -m 644 systemd/ssts.tmpfiles.conf $(TO)/lib/tmpfiles.d/ssts.conf
	install -d $(TO)/share/man/man1 $(TO)/share/bash-completion/completions $(TO)/$(ZSH) \
	  $(TO)/share/fish/vendor_completions.d
	$(BUILT)/sstsctl man $(TO)/share/man/man1
	$(BUILT)/sstsctl completions bash >$(TO)/share/bash-completion/completions/sstsctl
	$(BUILT)/sstsctl completions zsh >$(TO)/$(ZSH)/_sstsctl
	$(BUILT)/sstsctl completions fish >$(TO)/share/fish/vendor_completions.d/sstsctl.fish
	install -D -m 644 -t $(TO)/share/doc/ssts agent/sstsd.toml README.md docs/installing.md LICENSE-MIT LICENSE-APACHE
	[[ -e $(DESTDIR)$(SYSCONFDIR)/ssts/sstsd.toml ]] || \
	  install -D -m 644 agent/sstsd.toml $(DESTDIR)$(SYSCONFDIR)/ssts/sstsd.toml
	@[[ -n "$(DESTDIR)" ]] || printf '%s\n' 'Installed; nothing was started. As root:' \
	  '  systemd-sysusers ssts.conf && systemd-tmpfiles --create ssts.conf && systemctl daemon-reload' \
	  '  systemctl enable --now sstsd.socket      the daemon starts with the first command' \
	  '  systemctl enable --now sstsd.service     or now, and at every boot'

uninstall: ## end the daemon and remove what `make install` installed; configuration and records stay
	@if [[ -z "$(DESTDIR)" && -d /run/systemd/system ]]; then systemctl disable --now $(UNITS) || true; fi
	rm -f $(INSTALLED:%=$(TO)/%) $(TO)/share/man/man1/sstsctl.1 $(TO)/share/man/man1/sstsctl-*.1
	rm -rf $(TO)/share/doc/ssts
	@echo 'Kept: $(SYSCONFDIR)/ssts (configuration), /var/lib/ssts (records of runs) and the group ssts.'

deb: ## build target/debian/ssts_VERSION_ARCH.deb
	@.ci/setup build deb
	[[ $(BUILD) != release ]] || $(CARGO) build --release --locked -p ssts-agent -p ssts-ctl
	rm -rf target/package
	$(MAKE) --no-print-directory install DESTDIR=$(CURDIR)/target/package PREFIX=/usr SYSCONFDIR=/etc \
	  ZSH=share/zsh/vendor-completions STRIP=-s
	PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo-deb --quiet --manifest-path agent/Cargo.toml --no-build --locked $(DEB_ARGS)
	rm -rf target/package

setup: ## only install what run, test, lint and bench need
	@.ci/setup build test lint bench
	@echo 'setup: all there'

clean: ## remove target/, with the tools and the lab kernel in it
	rm -rf target
