# Two commands matter: "make demo" issues cards for real, "make test" runs every test.
# Both install what they need (Debian packages, Go modules) and are quick when it is there.

GO := $(shell command -v go || echo /usr/local/go/bin/go)
export GO
BIN := bin/cardbureau

.PHONY: demo test build setup bench lint fuzz torture clean

demo: build
	@$(BIN) demo $(if $(PRODUCT),--product $(PRODUCT))

test: setup
	@scripts/test

build: setup
	@$(GO) build -o $(BIN) ./cmd/cardbureau

setup:
	@scripts/setup

bench: build
	@$(BIN) bench

lint: setup
	@scripts/lint.sh

# Every fuzz target for a while each: make fuzz TIME=30s
TIME ?= 10s
fuzz: setup
	@scripts/fuzz $(TIME)

# What takes longer than "make test" allows: kill -9 and a crash at every point.
torture: setup
	@CARDBUREAU_TORTURE=1 $(GO) test -count=1 -timeout 60m -run 'Torture|Crash|Kill' ./...

clean:
	rm -rf bin
