# Every target does its own set-up: on a machine with Go, Node/npm and apt, `make demo` and `make test` need nothing else.
SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := all

BIN      := bin
TOOLS    := -modfile=internal/tools/go.mod
SOAK     ?= 10m
# The race detector needs a C compiler; without one, tests run without it.
RACE     := $(if $(shell command -v $${CC:-gcc}),-race)

.PHONY: all help setup build demo test bench soak peers check generate lint vet clean

all: check test ## generated code up to date, lint, tests

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: node_modules/.stamp ## bring the engines: the ClickHouse library from npm, redis-server from apt
	@internal/tools/redis.sh

node_modules/.stamp: package.json package-lock.json
	@echo "bringing the ClickHouse library and the sample orders from npm (about 190 MB, once) …"
	@npm ci --no-audit --no-fund --loglevel=error
	@touch $@

build: ## build bin/kohorta
	@go build -o $(BIN)/kohorta ./cmd/kohorta

demo: setup build ## the main job on real orders: import, score, segment, sync, prove. DATA=file PRESET=online-retail for other orders
	@$(BIN)/kohorta demo $(if $(DATA),--data $(DATA)) $(if $(PRESET),--preset $(PRESET))

test: setup ## all tests, on real engines, with the race detector
	@REQUIRE_SERVERS=1 go test $(RACE) -timeout 15m ./...

bench: setup ## the benchmarks of docs/benchmarks.md, as ratios
	@KOHORTA_BENCH=1 go test -run '^$$' -bench . -benchtime 1x -timeout 60m ./...

soak: setup ## the laws for SOAK (10m): random cases in the thousands
	@KOHORTA_SOAK=$(SOAK) REQUIRE_SERVERS=1 go test -count=1 -timeout 24h -run 'Law|Soak|Property' ./...

peers: setup build ## docs/peers.md anew: published connectors and this one against the same platforms (about 5 minutes)
	@cd internal/tools/peers && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && node peers.js $(CASE)

check: generate lint vet ## generated code up to date, linters, vet
	@git diff --exit-code -- proto || { echo "generated code is out of date: commit what 'make generate' wrote"; exit 1; }

generate: ## generated Go from proto/, by the pinned tools
	@mkdir -p $(BIN)
	@go build $(TOOLS) -o $(BIN)/ github.com/bufbuild/buf/cmd/buf google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/buf generate

lint: ## buf lint, buf format, golangci-lint
	@mkdir -p $(BIN)
	@go build $(TOOLS) -o $(BIN)/ github.com/bufbuild/buf/cmd/buf github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@$(BIN)/buf lint
	@$(BIN)/buf format --diff --exit-code
	@$(BIN)/golangci-lint run

vet: ## go vet
	@go vet ./...

clean: ## remove what the targets made: binaries, packages, demo data
	@rm -rf $(BIN) node_modules data
