# tutti: `make help` lists the targets.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-builtin-rules --no-print-directory

GO      ?= go
PREFIX  ?= /usr/local
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TUTTI   := $(CURDIR)/bin/tutti
INIT    := runtime/initbin/bin/tutti-init
STATIC  := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false
MEAN    := $(TUTTI) -f samples/mean/compose.yaml

comma := ,
# The engine needs root. Under sudo, Go must still be found, and proxies and registries must still be known.
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo --preserve-env=GOPROXY$(comma)NPM_CONFIG_REGISTRY$(comma)HTTP_PROXY$(comma)HTTPS_PROXY$(comma)NO_PROXY env PATH="$$PATH")

# PROGRAM=PACKAGE: what is installed where PROGRAM is missing.
RUN_DEPS  := iptables=iptables ip=iproute2 /var/lib/dpkg/info/busybox-static.list=busybox-static mmdebstrap=mmdebstrap npm=npm \
	/etc/ssl/certs/ca-certificates.crt=ca-certificates /usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring
TEST_DEPS := git=git ssh=openssh-client gcc=gcc /usr/include/stdlib.h=libc6-dev chromium,chromium-browser,google-chrome=chromium docker-registry=docker-registry skopeo=skopeo pgrep=procps \
	qemu-system-x86_64=qemu-system-x86 mke2fs=e2fsprogs losetup=mount dpkg-deb=dpkg \
	rsyslogd=rsyslog /lib/systemd/systemd-journald=systemd podman=podman \
	firewalld=firewalld dbus-daemon=dbus-daemon ufw=ufw

# docker alone, without what only recommends itself; docker buildx and docker compose are compared with where they are installed.
# From Debian 13 on the command line is a package of its own.
COMPARE_DEPS = docker=$(shell . /etc/os-release && [ "$$ID" = debian ] && [ "$${VERSION_ID:-13}" -ge 13 ] && echo docker-cli || echo docker.io) dockerd=docker.io

BENCH_DEPS := slirp4netns=slirp4netns docker-registry=docker-registry skopeo=skopeo iperf3=iperf3 dnsperf=dnsperf nsenter=util-linux

# Packages without the kernel in them are cheap to test with the race detector.
PURE := ./dns ./netdriver/ipam ./project ./scheduler/forecast ./scheduler/names ./scheduler/plan ./scheduler/supervise ./runtime/keeper/wire ./runtime/statefile

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: $(INIT) ## Build bin/tutti
	@mkdir -p bin
	$(STATIC) -ldflags "-s -w -X main.version=$(VERSION)" -o $(TUTTI) ./cmd/tutti

# The init that every container starts with is embedded in the binary, so it comes first. Go's cache decides whether
# there is anything to do.
.PHONY: $(INIT)
$(INIT):
	@mkdir -p $(@D)
	$(STATIC) -ldflags '-s -w' -o $@ ./cmd/tutti-init

.PHONY: deps
deps: ## Install the system packages that are missing (Debian, Ubuntu)
	@.ci/deps $(RUN_DEPS)

.PHONY: test-deps
test-deps: deps
	@# Debian starts a registry on port 5000, and a firewall, with the packages, which nobody asked for.
	@for service in docker-registry firewalld; do \
	  [ -e /var/lib/dpkg/info/$$service.list ] || [ ! -d /etc/systemd/system ] || \
	    $(SUDO) ln -sfn /dev/null /etc/systemd/system/$$service.service; \
	done
	@.ci/deps $(TEST_DEPS)

.PHONY: base-images
base-images: deps build ## Make sure of the samples' base images: from Docker Hub, or bootstrapped
	@$(SUDO) samples/base-images/base-images.sh ensure $(TUTTI)

.PHONY: demo
demo: base-images ## Bring up samples/mean and say what to try
	$(SUDO) $(MEAN) up --build --wait
	@$(SUDO) $(MEAN) ps
	@printf '%s\n' '' \
	  'The stack is up: open http://localhost:$(or $(PORT),5000) and add an item.' \
	  '' \
	  'Three things to try:' \
	  '  $(if $(SUDO),sudo )bin/tutti -f samples/mean/compose.yaml logs -f angular            # then use the page' \
	  '  $(if $(SUDO),sudo )bin/tutti -f samples/mean/compose.yaml exec angular getent hosts mongo || echo "not on its network"' \
	  '  $(if $(SUDO),sudo )bin/tutti -f samples/mean/compose.yaml down                       # the items stay; with -v they go'

.PHONY: test
test: test-deps build ## Run the tests (10 minutes on two cores)
	@.ci/test $(PURE)

.PHONY: guest
guest: test-deps build ## Run tests on cgroup v2 with systemd, and reboot it, in an emulated machine (6 minutes)
	$(SUDO) $(GO) test -count 1 -timeout 25m ./samples/guest

# TUTTI_CRASH_SEED=N repeats the moments of an earlier run.
.PHONY: crash
crash: test-deps build ## Kill engine and keeper 200 times, and the engine 50 times at work on its stores; damage every file, measure outages strictly
	@$(SUDO) env TUTTI_CRASH_ROUNDS=$(or $(ROUNDS),200) TUTTI_STORE_ROUNDS=$(or $(ROUNDS),50) TUTTI_CRASH_STRICT=1 \
	  $(GO) test ./samples -run '^(TestCrash|TestOutage|TestDamagedState|TestFullDisk|TestUpgrade|TestStoreCrash)$$' -parallel 1 -count 1 -v -timeout 60m

# Some tests are about time and memory, which the detector takes ten times as much of: those fail for that.
.PHONY: race
race: test-deps $(INIT) ## Run the scenarios (TEST=pattern) on an engine with the race detector, whose findings fail them (half an hour)
	$(GO) build -race -o $(TUTTI) ./cmd/tutti
	@$(SUDO) $(GO) test ./samples -run '$(or $(TEST),.)' -parallel 2 -count 1 -timeout 120m; status=$$?; $(MAKE) build; exit $$status

.PHONY: scale
scale: test-deps build ## Bring up 500 services on one network (SERVICES=N for another number)
	@$(SUDO) env TUTTI_SCALE=$(or $(SERVICES),500) $(GO) test ./samples -run '^TestScale$$' -count 1 -v -timeout 30m

.PHONY: oci-validation
oci-validation: test-deps build ## Judge the OCI runtime by the specification's validation suite
	$(SUDO) $(GO) test -tags validation -count=1 -v -run TestValidationSuite ./cmd/tutti/oci $(if $(UPDATE),-args -update)

# FUZZTIME=10m looks for longer.
.PHONY: fuzz
fuzz: $(INIT) ## Send the resolver, and the image store, what nobody should
	for target in FuzzRespond FuzzUpstreamAnswer; do $(GO) test ./dns -run '^$$' -fuzz "^$$target\$$" -fuzztime $(or $(FUZZTIME),3m); done
	@# In memory: a store on a disk waits for it most of the time.
	for target in ./runtime/image/unpack:FuzzUnpack ./runtime/image:FuzzLayer ./runtime/image:FuzzLoad; do \
	  $(SUDO) unshare --mount sh -c 'mount -t tmpfs tutti-fuzz /mnt && TMPDIR=/mnt exec "$$@"' sh \
	    $(GO) test "$${target%:*}" -run '^$$' -fuzz "^$${target#*:}\$$" -fuzzminimizetime 20x -fuzztime $(or $(FUZZTIME),3m); \
	done

# PARTS=network measures that alone; there are containers, images, watch, bare, network and dns (of network).
.PHONY: bench
bench: deps build ## Compare with docker compose, where dockerd is installed (about 20 minutes)
	@.ci/deps $(BENCH_DEPS)
	@images=$$($(SUDO) samples/base-images/base-images.sh bootstrap); \
	$(GO) build -o bin/bench ./samples/bench; \
	$(SUDO) samples/bench/netns.sh bin/bench -tutti $(TUTTI) -images $$images/busybox.tar -base $$images/base-images.tar \
	  $(if $(PARTS),-parts $(PARTS)) $(if $(RUNS),-runs $(RUNS))

# PART=TestCopies compares that alone; UPDATE=1 writes docs/compare.md.
.PHONY: compare
compare: test-deps build ## Compare images, archives, copies, answers and flags with docker's (a dockerd of its own; 5 minutes)
	@# Debian starts a dockerd with the package, which nobody asked for.
	@for service in docker.service docker.socket containerd.service; do \
	  command -v dockerd >/dev/null || [ ! -d /etc/systemd/system ] || $(SUDO) ln -sfn /dev/null /etc/systemd/system/$$service; \
	done
	@.ci/deps $(COMPARE_DEPS)
	$(GO) test -c -o bin/compare.test ./samples/compare
	cd samples/compare && $(SUDO) env $(if $(UPDATE),TUTTI_COMPARE_PAGE=../../docs/compare.md) ../../bin/compare.test -test.timeout 30m -test.run '$(or $(PART),.)'

.PHONY: lint
lint: $(INIT) ## Run golangci-lint, which must be installed
	@command -v golangci-lint >/dev/null || { echo 'go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@latest' >&2; exit 1; }
	golangci-lint run ./...

.PHONY: install
install: build ## Install to PREFIX (/usr/local)
	$(if $(filter-out 0,$(shell id -u)),sudo )install -D -m 755 $(TUTTI) $(DESTDIR)$(PREFIX)/bin/tutti
	$(if $(filter-out 0,$(shell id -u)),sudo )ln -sfn tutti $(DESTDIR)$(PREFIX)/bin/tutti-oci

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin $(INIT)
