# What can be made here. `make` alone lists it.

SHELL := /bin/sh
.SHELLFLAGS := -ec
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export PATH := $(PATH):/usr/local/go/bin

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# The commit of a checkout and its time; empty elsewhere.
REVISION ?= $(shell git show -s --format='%H %cI' HEAD 2>/dev/null)
STAMP := -s -w -X main.version=$(VERSION) -X "github.com/netmon-sensor/netmon/plugins.revision=$(REVISION)"
BUILD := go build -trimpath -buildvcs=false -ldflags '$(STAMP)' -o
# The sensor has C in it, and runs on every Linux all the same: it is linked
# statically, and looks up users and names without libc.
STATIC := go build -trimpath -buildvcs=false -tags osusergo,netgo -ldflags '$(STAMP) -linkmode external -extldflags "-static"' -o
DOCKER ?= docker
IMAGE ?= netmon
CONFIG ?= netmon.hcl
FUZZTIME ?= 10m
CHAOS ?= 10m
CHAOS_SEED ?=
CACHE := $(CURDIR)/.cache
BUF_VERSION := 1.75.0
BUF := $(CACHE)/buf-$(BUF_VERSION)

# Tests of packet capture need a network namespace. Root has one; anybody else
# may be given one of their own.
TESTEXEC := $(if $(filter 0,$(shell id -u)),,-exec $(CURDIR)/.ci/testexec)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: compiler ## the sensor and its exporters, in bin/
	@mkdir -p bin
	CGO_ENABLED=1 $(STATIC) bin/ ./sensor/cmd/netmon-sensor
	CGO_ENABLED=0 $(BUILD) bin/ ./exporters/server/cmd/netmon-exporter-server ./exporters/push/cmd/netmon-exporter-push
	@$(MAKE) pages

# What the programs write of themselves, where they run: not when built for another
# architecture.
.PHONY: pages
pages:
	@rm -rf bin/completions bin/man
	@mkdir -p bin/completions/bash bin/completions/zsh bin/completions/fish bin/man
	@if bin/netmon-sensor -version >/dev/null 2>&1; then \
		bin/netmon-sensor completion bash >bin/completions/bash/netmon-sensor; \
		bin/netmon-sensor completion zsh >bin/completions/zsh/_netmon-sensor; \
		bin/netmon-sensor completion fish >bin/completions/fish/netmon-sensor.fish; \
		bin/netmon-sensor manual netmon-sensor >bin/man/netmon-sensor.8; \
		bin/netmon-sensor manual netmon.hcl >bin/man/netmon.hcl.5; \
		bin/netmon-exporter-server -man >bin/man/netmon-exporter-server.8; \
		bin/netmon-exporter-push -man >bin/man/netmon-exporter-push.8; \
	else echo "no manual and no shell completions: the programs do not run here"; fi

.PHONY: build-agent build-server
build-agent build-server: build

.PHONY: run
run: build ## build, then watch this machine by CONFIG=netmon.hcl (asks sudo for root)
	$(if $(filter 0,$(shell id -u)),,sudo )bin/netmon-sensor -config $(CONFIG)

.PHONY: test
test: lint build ## everything: lint, build, all tests with the race detector
	go test -race -timeout 30m $(TESTEXEC) ./...
	go -C deploy/tools test ./...

.PHONY: deploy-check
deploy-check: build ## every way to install that can be tried here (root)
	go test ./deploy/...
	go -C deploy/tools test ./...

.PHONY: lint
lint: compiler ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt has something to say about:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go tool -modfile=tools/go.mod staticcheck ./...

.PHONY: cover
cover: compiler ## how much of the code the tests run; a page of it in .cache/cover.html
	@mkdir -p $(CACHE)
	go test -timeout 30m $(TESTEXEC) -coverpkg=./... -coverprofile=$(CACHE)/cover.out ./...
	@go tool cover -html=$(CACHE)/cover.out -o $(CACHE)/cover.html
	@go tool cover -func=$(CACHE)/cover.out | tail -n 1

.PHONY: fuzz
fuzz: compiler ## every fuzz target for FUZZTIME=10m each
	@for dir in $$(go list -f '{{.Dir}}' ./...); do \
		for target in $$(cat $$dir/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do \
			echo "$$target in $${dir#$(CURDIR)/}"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$dir; \
		done; \
	done

.PHONY: soak
soak: compiler ## the budgets of rows against ten million names, some minutes
	NETMON_SLOW=1 go test -v -timeout 60m -run 'TenMillionNames|BudgetHolds' ./sensor/internal/view ./exporters/server

.PHONY: bench
bench: compiler ## time and allocations of everything on the way of a packet
	go test -run '^$$' -bench . -benchmem -timeout 60m ./...

.PHONY: bench-peers
bench-peers: build ## CPU per packet beside softflowd, nfpcapd, pmacctd and tshark (minutes; installs them)
	@.ci/packages softflowd nfdump pmacct tshark || echo "those are left out"
	go run ./bench/peers

.PHONY: bench-live
bench-live: build ## loss and CPU of live capture beside a program that only counts (minutes; root)
	@.ci/packages iproute2 procps
	go run ./bench/live

.PHONY: overload
overload: compiler ## a minute of ten times more packets than a sensor can take, to the packet (root)
	NETMON_OVERLOAD=1m go test -count=1 -timeout 5m $(TESTEXEC) -v -run TestOverload ./sensor/cmd/netmon-sensor

.PHONY: chaos
chaos: compiler ## CHAOS=10m of faults at random, then every counter of every server (CHAOS_SEED=n repeats; root)
	NETMON_CHAOS=$(CHAOS) NETMON_CHAOS_SEED=$(CHAOS_SEED) go test -count=1 -timeout 2h $(TESTEXEC) -v -run 'TestChaosTown$$' ./sensor/cmd/netmon-sensor

.PHONY: chaos-mutants
chaos-mutants: compiler ## mistakes of delivery and of stores, each of which the tests must find (minutes; root)
	NETMON_CHAOS_MUTANTS=1 NETMON_CHAOS_SEED=$(CHAOS_SEED) go test -count=1 -timeout 1h $(TESTEXEC) -v -run 'Test(Chaos|Store)Mutants$$' ./sensor/cmd/netmon-sensor

.PHONY: flood
flood: compiler ## attacks of two million packets each, and a million flows on a wire (root): memory, totals, counters, time
	NETMON_FLOOD=2000000 go test -count=1 -timeout 20m -v -run TestFlood ./sensor
	NETMON_FLOOD=4000000 go test -count=1 -timeout 10m $(TESTEXEC) -v -run TestLiveFlood ./sensor/cmd/netmon-sensor

.PHONY: docs
docs: compiler ## the tables in docs/ that are made from code
	go test -count=1 -run 'Page$$' ./sensor/cmd/netmon-sensor -args -update

.PHONY: proto
proto: ## check the wire contract and generate its Go code (installs buf from npm in .cache/)
	@mkdir -p $(CACHE)/bin
	@ls $(BUF)/node_modules/@bufbuild/buf-linux-*/bin/buf >/dev/null 2>&1 || npm install --prefix $(BUF) --ignore-scripts --no-audit --no-fund --silent @bufbuild/buf@$(BUF_VERSION)
	go -C tools build -o $(CACHE)/bin/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
	@buf=$$(echo $(BUF)/node_modules/@bufbuild/buf-linux-*/bin/buf); export PATH=$(CACHE)/bin:$$PATH; \
		cd proto; set -x; "$$buf" lint; "$$buf" generate; gofmt -w netmonpb

.PHONY: image
image: image-root ## a container image from bin/, without a registry: IMAGE=netmon, DOCKER=docker or podman
	@sed -e '1,/^FROM golang/d' -e '/^FROM scratch/,$$!d' -e 's/--from=build //; s,/src/bin/image/,/,' deploy/Dockerfile >bin/image.Dockerfile
	$(DOCKER) build -q -t $(IMAGE) -f bin/image.Dockerfile bin/image

# What the image holds.
.PHONY: image-root
image-root: build notices
	@rm -rf bin/image
	@mkdir -p bin/image/etc/netmon bin/image/etc/ssl/certs bin/image/var/lib/netmon bin/image/var/lib/netmon-server
	@install -d -m 1777 bin/image/tmp
	@CGO_ENABLED=0 $(BUILD) bin/image/ ./deploy/cmd/netmon
	@cp bin/netmon-sensor bin/netmon-exporter-server bin/netmon-exporter-push LICENSE bin/NOTICE bin/image/
	@cp deploy/image/*.hcl bin/image/etc/netmon/
	@cp deploy/image/passwd deploy/image/group bin/image/etc/
	@cp /etc/ssl/certs/ca-certificates.crt bin/image/etc/ssl/certs/
	@chmod -R go-w bin/image/netmon* bin/image/etc bin/image/var
	@chmod 1777 bin/image/var/lib/netmon-server

# A version that every packager takes: 1.2.3 for the tag v1.2.3, else below any.
PACKAGE_VERSION ?= $(or $(patsubst v%,%,$(filter v%,$(VERSION))),0.0.0-dev+$(VERSION))

.PHONY: packages
packages: package-root nfpm ## deb, rpm and apk in bin/, by nfpm
	@for format in deb rpm apk; do GOARCH=$$(go env GOARCH) PACKAGE_VERSION='$(PACKAGE_VERSION)' $(CACHE)/bin/nfpm package -f deploy/packages/nfpm.yaml -p $$format -t bin/; done

.PHONY: nfpm
nfpm:
	@mkdir -p $(CACHE)/bin
	@go -C deploy/tools build -o $(CACHE)/bin/ github.com/goreleaser/nfpm/v2/cmd/nfpm

# What the packages hold. Man pages and completions are packed where there are any.
.PHONY: package-root
package-root: build notices
	@rm -rf bin/package
	@install -D -t bin/package/usr/bin bin/netmon-sensor
	@install -D -t bin/package/usr/lib/netmon/plugins bin/netmon-exporter-server bin/netmon-exporter-push
	@install -D -m 644 -t bin/package/usr/lib/systemd/system deploy/systemd/*.service
	@install -D -m 644 deploy/packages/sysusers.conf bin/package/usr/lib/sysusers.d/netmon.conf
	@install -D -m 644 LICENSE bin/package/usr/share/doc/netmon/copyright
	@install -D -m 644 -t bin/package/usr/share/doc/netmon bin/NOTICE
	@install -D -m 644 -t bin/package/usr/share/doc/netmon README.md
	@install -D -m 644 -t bin/package/usr/share/doc/netmon/examples deploy/systemd/*.conf
	@for page in bin/man/*.[1-9]; do if [ -e "$$page" ]; then install -D -m 644 -t "bin/package/usr/share/man/man$${page##*.}" "$$page"; fi; done
	@for shell in bash:bash-completion/completions zsh:zsh/site-functions fish:fish/vendor_completions.d; do \
		for file in bin/completions/$${shell%%:*}/*; do if [ -e "$$file" ]; then install -D -m 644 -t "bin/package/usr/share/$${shell#*:}" "$$file"; fi; done; \
	done

# The licences of all that is linked into the programs, in bin/NOTICE.
.PHONY: notices
notices:
	@mkdir -p bin
	@{ echo "The programs of netmon hold these libraries. netmon-sensor holds the GNU C Library"; \
	echo "as well (LGPL 2.1 or later); make build links it with another."; \
	printf '\n==== Go\n\n'; cat "$$(go env GOROOT)/LICENSE"; \
	go list -deps -tags osusergo,netgo -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' \
		./sensor/cmd/netmon-sensor ./exporters/server/cmd/netmon-exporter-server ./exporters/push/cmd/netmon-exporter-push ./deploy/cmd/netmon | \
	sort -u | while read -r path version dir; do \
		found=; for file in "$$dir"/[Ll][Ii][Cc][Ee][Nn][CcSs][Ee]* "$$dir"/COPYING* "$$dir"/NOTICE*; do \
			if [ -e "$$file" ]; then found=yes; printf '\n==== %s %s, %s\n\n' "$$path" "$$version" "$${file##*/}"; cat "$$file"; fi; \
		done; \
		if [ -z "$$found" ]; then echo "$$path comes without a licence" >&2; exit 1; fi; \
	done; } >bin/NOTICE

.PHONY: clean
clean: ## remove what was made
	rm -rf bin .cache

# afpacket is the one library that needs a C compiler, libc to link with, and the
# headers of Linux.
.PHONY: compiler
compiler:
	@command -v go >/dev/null || { echo "netmon is built with Go 1.26: https://go.dev/dl"; exit 1; }
	@printf '#include <stdlib.h>\n#include <linux/if_packet.h>\nint main(void) { return 0; }\n' | $$(go env CC) -static -x c -o /dev/null - 2>/dev/null || .ci/packages gcc libc6-dev linux-libc-dev
