# tutti: `make help` lists the targets.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-builtin-rules

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
PREFIX  ?= /usr/local
GO      ?= go
TUTTI   := $(CURDIR)/bin/tutti
INIT    := runtime/initbin/bin/tutti-init
STATIC  := CGO_ENABLED=0 $(GO) build -trimpath

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: $(INIT) ## Build bin/tutti
	@mkdir -p bin
	$(STATIC) -ldflags "-s -w -X main.version=$(VERSION)" -o $(TUTTI) ./cmd/tutti

# The init that every container starts with is embedded in the binary, so it comes first.
# Go's own cache decides whether there is anything to do.
.PHONY: $(INIT)
$(INIT):
	@mkdir -p $(@D)
	$(STATIC) -ldflags '-s -w' -o $@ ./cmd/tutti-init

.PHONY: test
test: build ## Run every test (15 minutes at most on two cores)
	$(GO) vet ./...
	$(GO) test -timeout 15m ./...

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin $(INIT)
