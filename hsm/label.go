package hsm

import (
	"fmt"
	"strings"
)

const labelPrefix = "cb/"

// maxLabel bounds labels: PKCS#11 sets no limit, some tokens stop at 64.
const maxLabel = 64

// Label is cb/<role>/<version>. Roles are lower-case words joined by dots or
// hyphens; versions are what distinguishes keys of one role: "1", "2025-11".
func Label(role, version string) (string, error) {
	l := labelPrefix + role + "/" + version
	if !word(role) || !word(version) || len(l) > maxLabel {
		return "", fmt.Errorf("hsm: %q and %q make no key label", role, version)
	}
	return l, nil
}

// ParseLabel splits a label; ok is false for keys that are not of this
// program.
func ParseLabel(label string) (role, version string, ok bool) {
	rest, ok := strings.CutPrefix(label, labelPrefix)
	if !ok {
		return "", "", false
	}
	role, version, ok = strings.Cut(rest, "/")
	if !ok || !word(role) || !word(version) || len(label) > maxLabel {
		return "", "", false
	}
	return role, version, true
}

func word(s string) bool {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '-':
		default:
			return false
		}
	}
	return s != ""
}
