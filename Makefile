# BazBeans. `make help` lists the targets.
SHELL   := /bin/sh
ifndef VERSION
VERSION := $(shell packaging/version)
endif
LDFLAGS := -s -w -X github.com/bazbeans/bazbeans/cli.version=$(VERSION)
SCRIPTS := tools/deps .ci/run dev/shot/take.sh $(wildcard docker/*.sh docker/*/*.sh nginx-test/*/*.sh) packaging/version packaging/build packaging/release $(wildcard packaging/*/post* packaging/*/prerm)

# ARGS is handed to the program of demo, bench and faults; CYCLES to bench.
ARGS   ?=
CYCLES ?= 50
# FUZZTIME is for each fuzz target.
FUZZTIME ?= 30s

# nginx takes a variable of that name for its own.
unexport NGINX
# LOCAL=1 is --local: no Docker is installed then.
LOCAL := $(or $(LOCAL),$(filter --local,$(ARGS)))

.DEFAULT_GOAL := help
.PHONY: help build demo test harness roots test-systemd test-docker images packages release test-packages deps test-short lint bench bench-resolvers faults fuzz man fmt clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/lbd, bin/bbagent, bin/bbctl, bin/bbinit and bin/bbdev
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ ./cmd/... # as packaging/build does

demo: ## run a whole small site here: Redis, Nginx, three nodes, lbd (ARGS=--smoke plays the story and exits)
	@tools/deps demo
	@$(MAKE) --no-print-directory build
	@bin/bbdev $(ARGS)

test: ## run all tests, with real servers; installs what they need
	@tools/deps test
	go test -race -count=1 -timeout 20m ./... # not from the cache: some of them test programs that they build

harness: build ## test templates with real Nginx in containers (NGINX_IMAGES TEMPLATES CASES FIXTURE INCLUDE MODULES GOLDEN UPDATE=1 SHOW=1 JUNIT=FILE, LOCAL=1: without Docker)
	@tools/deps $(if $(LOCAL),demo,harness $(if $(findstring debian:,$(NGINX_IMAGES)),roots))
	@CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/harness ./nginx-test/compose
	@bin/harness $(if $(LOCAL),--local) $(foreach n,$(NGINX),--nginx $n) $(if $(NGINX_IMAGES),--images "$(NGINX_IMAGES)") $(if $(CASES),--cases $(CASES)) $(if $(TEMPLATES),--templates $(TEMPLATES)) $(if $(FIXTURE),--fixture $(FIXTURE)) $(if $(INCLUDE),--include $(INCLUDE)) $(if $(MODULES),--modules $(MODULES)) $(if $(GOLDEN),--golden $(GOLDEN)) $(if $(UPDATE),--update) $(if $(SHOW),--show) $(if $(JUNIT),--junit $(JUNIT)) $(ARGS)

roots: ## make the Debians whose Nginx 1.22, 1.26 and 1.30 tests run (root; once, two minutes and 800 MB)
	@tools/deps roots
	go run ./nginx-test/base/roots

test-systemd: ## boot a Debian with the units in it (root; makes that Debian once, 550 MB)
	@tools/deps test-systemd
	go test -race -timeout 15m ./systemd -boot

test-docker: ## run the images and the compose site on a container engine (root, or a running engine; makes two Debians once)
	@tools/deps test-docker
	go test -race -timeout 20m ./docker -engine

images: ## build the container images lbd, bbagent, bbctl and web (NGINX_IMAGE=nginx:1.28; see docker/README.md)
	@VERSION='$(VERSION)' docker/build.sh

packages: ## build .deb and .rpm for amd64 and arm64 into dist/
	@rm -f dist/*.deb dist/*.rpm
	packaging/build dist
	@rm -rf dist/stage

release: ## make the folder that one would publish: dist/VERSION, with programs, packages, bills of materials, checksums
	packaging/release dist

test-packages: ## build packages twice, install, upgrade, purge them in a booted Debian (root; makes that Debian once)
	@tools/deps test-packages
	go -C tools test ./...
	go test -timeout 15m ./packaging -boot

deps: ## install what demo, test and lint need and this machine lacks
	@tools/deps demo test lint

test-short: ## run the tests that need no servers
	go test -short ./step ./conf ./cli ./resolvers ./ngxconf

lint: ## gofmt, go vet, staticcheck, go mod tidy, shellcheck
	@tools/deps lint
	@files=$$(git ls-files '*.go') && bad=$$(gofmt -l $$files) || exit 1; [ -z "$$bad" ] || { echo "not gofmt-ed: $$bad"; exit 1; }
	go vet ./...
	go -C tools vet ./...
	go tool staticcheck ./...
	go mod tidy -diff
	go mod verify
	shellcheck $(SCRIPTS)

bench: build ## measure drains of all engines beside a bare reload and HAProxy, in one run (CYCLES=50, ARGS="--only floor,lua"), then resolvers
	@tools/deps bench
	go run ./dev/bench --cycles $(CYCLES) $(ARGS)
	@$(MAKE) --no-print-directory bench-resolvers

bench-resolvers: ## measure resolvers with 10,000 nodes: seconds and memory for each look
	go test -run '^$$' -bench . -benchmem -benchtime 3x ./resolvers

faults: build ## play every fault under traffic and print a table (ARGS=--short for a few minutes, ARGS="--only redis")
	@tools/deps test
	go run ./dev/faults --out faults-out $(ARGS)

fuzz: ## run each fuzz target for FUZZTIME
	@for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "== $$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$pkg || exit 1; \
	  done; \
	done

man: ## write the manual pages into man/
	go run ./dev/man man

fmt: ## format the code
	gofmt -w $$(git ls-files '*.go')

clean: ## remove what make made
	rm -rf bin dist bench-out faults-out man
