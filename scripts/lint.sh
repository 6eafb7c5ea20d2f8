#!/bin/sh
# gofmt, go vet and staticcheck over everything.
set -eu
go=${GO:-go}
files=$(git ls-files -co --exclude-standard '*.go' 2>/dev/null || find . -name '*.go')
unformatted=$(gofmt -l $files)
if [ -n "$unformatted" ]; then
	echo "lint: gofmt would change:" >&2
	echo "$unformatted" >&2
	exit 1
fi
"$go" vet ./...
"$go" tool -modfile=scripts/lint/go.mod staticcheck ./...
echo "lint: gofmt, vet and staticcheck found nothing"
