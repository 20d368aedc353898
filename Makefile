# Building, testing and running git-kv. `make` alone lists the targets.

SHELL := /bin/sh
BUN := scripts/bun
DEPS := node_modules/.installed
SOURCES := $(shell find src bin -type f) build.ts scripts/compile.ts scripts/types.ts package.json bun.lock tsconfig.json tsconfig.types.json

.DEFAULT_GOAL := help
.PHONY: help setup build install uninstall lint test test-sha256 test-programs fuzz crash soak demo bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup: ## install Bun (the pinned version) and the packages, and the programs the tests need
	@scripts/setup
	@touch $(DEPS)
	@scripts/setup-tests

$(DEPS): package.json bun.lock scripts/setup
	@scripts/setup
	@touch $@

build: dist/git-kv dist/git-kv-stargate dist/node/open-kv-node.js ## compile dist/git-kv and dist/git-kv-stargate, bundle the library

dist/node/open-kv-node.js: $(SOURCES) $(DEPS)
	@$(BUN) build.ts library

dist/%: $(SOURCES) $(DEPS)
	@$(BUN) build.ts $*

# Where `make install` puts things; DESTDIR goes before, for whoever makes a package.
PREFIX ?= /usr/local
BIN := $(DESTDIR)$(PREFIX)/bin
SHARE := $(DESTDIR)$(PREFIX)/share
COMPLETIONS := bash-completion/completions/git-kv zsh/site-functions/_git-kv fish/vendor_completions.d/git-kv.fish

install: build ## install the executables, manual pages and completions (PREFIX=/usr/local, DESTDIR=)
	@install -d $(BIN) $(SHARE)/man/man1 $(addprefix $(SHARE)/,$(dir $(COMPLETIONS)))
	@install -m 755 dist/git-kv dist/git-kv-stargate $(BIN)
	@$(BUN) scripts/man-pages.ts $(SHARE)/man/man1
	@for file in $(COMPLETIONS); do $(BIN)/git-kv completion $${file%%[-/]*} >$(SHARE)/$$file; done

uninstall: ## remove what `make install` put there (the same PREFIX and DESTDIR)
	@rm -f $(BIN)/git-kv $(BIN)/git-kv-stargate $(addprefix $(SHARE)/,$(COMPLETIONS))
	@rm -f $(SHARE)/man/man1/git-kv.1 $(SHARE)/man/man1/git-kv-*.1

lint: $(DEPS) ## types, formatting and lint rules, import law
	@$(BUN) node_modules/.bin/tsc -p .
	@[ -t 1 ] || colors=--colors=off; $(BUN) node_modules/.bin/biome ci --error-on-warnings $$colors .
	@$(BUN) test tests/import-law.test.ts

test: build test-programs ## run every test; the last line is `N passed, N failed`
	@$(BUN) scripts/test.ts

test-sha256: build test-programs ## run every test in the other object format: repositories are sha256 where a test does not say
	@GIT_KV_TEST_FORMAT=sha256 $(BUN) scripts/test.ts

test-programs:
	@scripts/setup-tests

fuzz: $(DEPS) test-programs ## run the fuzz tests on 200 times as many inputs (FUZZ=N: on N times as many)
	@GIT_KV_FUZZ=$(or $(FUZZ),200) $(BUN) scripts/test.ts tests/fuzz

crash: build test-programs ## let every system call of a transaction be the last one, or fail (`make test` tries a sample)
	@GIT_KV_CRASH=all $(BUN) scripts/test.ts --timeout 3600000 tests/crash/transaction.test.ts tests/crash/catch-up.test.ts

soak: build test-programs ## writers, readers, kills and a mirror for ten minutes (SOAK=seconds); 200 readers; a backlog of 500
	@GIT_KV_SOAK=$(or $(SOAK),600) GIT_KV_READERS=200 GIT_KV_TRANSACTIONS=2000 GIT_KV_BACKLOG=500 \
	  $(BUN) scripts/test.ts --timeout 7200000 tests/crash/soak.test.ts tests/crash/readers.test.ts tests/crash/backlog.test.ts

demo: build ## show git-kv at work
	@$(BUN) demo/run.ts

bench: build ## measure
	@$(BUN) bench/run.ts

clean: ## remove what was built
	@rm -rf dist
