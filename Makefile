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

# The identity card; then the card with a bank account: RSA-1408 and the longest key
# that a card may have, each from a pool filled ahead and made for the card.
bench: build
	@$(BIN) bench
	@$(BIN) bench --product identity-bank --cards 100 --pool 100
	@$(BIN) bench --product identity-bank --cards 40 --pool 0
	@$(BIN) bench --product identity-bank --cards 40 --pool 40 --bits 1976
	@$(BIN) bench --product identity-bank --cards 20 --pool 0 --bits 1976

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
