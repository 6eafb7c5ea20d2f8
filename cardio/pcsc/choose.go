package pcsc

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ebfe/scard"
)

// serialInName finds a reader's serial number in its name: pcsc-lite's hotplug
// writes "MAKER MODEL [INTERFACE] (SERIAL) 00 00" where the reader has one.
var serialInName = regexp.MustCompile(`\(([^()]+)\) [0-9A-F]{2} [0-9A-F]{2}$`)

// SerialInName is the serial number in a reader's name, or empty.
func SerialInName(reader string) string {
	if m := serialInName.FindStringSubmatch(reader); m != nil {
		return m[1]
	}
	return ""
}

// Serial is a reader's serial number: the one in its name, or else the one that
// its driver gives (attribute SCARD_ATTR_VENDOR_IFD_SERIAL_NO of PC/SC part 3).
// It is empty where there is none, and while another program uses the reader.
// Asking the driver takes the reader for a moment.
func (c *Context) Serial(ctx context.Context, reader string) (string, error) {
	if s := SerialInName(reader); s != "" {
		return s, nil
	}
	var serial string
	err := c.ask(ctx, func(pc *scard.Context) error {
		direct, err := pc.Connect(reader, scard.ShareDirect, scard.ProtocolUndefined)
		if err != nil {
			return err
		}
		defer func() { _ = direct.Disconnect(scard.LeaveCard) }()
		if b, err := direct.GetAttrib(scard.AttrVendorIfdSerialNo); err == nil { // most drivers have none
			serial = strings.TrimSpace(string(bytes.TrimRight(b, "\x00")))
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("ask %s for its serial number: %w", reader, err)
	}
	return serial, nil
}

// Choose picks readers out of all by what people call them. A selector is, in
// this order: a reader's full name; a pattern of names, in which * stands for
// any characters and ? for one (brackets stand for themselves: names have
// them); or a reader's serial number, in capitals or small letters. No selector
// chooses all. A reader is chosen once, in the order of all.
//
// A pattern that fits nothing is passed over while another selector fits. A
// name or serial number that no reader has, and a serial number that several
// have, is a *ChoiceError.
func (c *Context) Choose(ctx context.Context, all, selectors []string) ([]string, error) {
	return choose(all, selectors, func(reader string) string {
		s, _ := c.Serial(ctx, reader) // a reader in use is one without
		return s
	})
}

// ChoiceError says that a selector does not say which reader is meant. Its
// text is one sentence for a person.
type ChoiceError struct {
	Selector string   // empty: there is no reader at all
	Fit      []string // readers that it fits
	Readers  []string // all there are
}

func (e *ChoiceError) Error() string {
	switch {
	case len(e.Readers) == 0:
		return "no reader is there: plug one in"
	case len(e.Fit) > 0:
		return fmt.Sprintf("%d readers have the serial number %q, name the one that is meant: %s", len(e.Fit), e.Selector, quoted(e.Fit))
	case isPattern(e.Selector):
		return fmt.Sprintf("no reader's name fits %q, there are: %s", e.Selector, quoted(e.Readers))
	}
	return fmt.Sprintf("no reader has the name or serial number %q, there are: %s", e.Selector, quoted(e.Readers))
}

func quoted(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = `"` + n + `"`
	}
	return strings.Join(out, ", ")
}

func choose(all, selectors []string, serial func(string) string) ([]string, error) {
	if len(all) == 0 {
		return nil, &ChoiceError{}
	}
	if len(selectors) == 0 {
		return slices.Clone(all), nil
	}
	chosen := map[string]bool{}
	unfit := ""
	for _, sel := range selectors {
		fit := fitting(all, sel, serial)
		switch {
		case len(fit) == 0 && isPattern(sel):
			unfit = sel
			continue
		case len(fit) == 0, len(fit) > 1 && !isPattern(sel):
			return nil, &ChoiceError{Selector: sel, Fit: fit, Readers: all}
		}
		for _, name := range fit {
			chosen[name] = true
		}
	}
	if len(chosen) == 0 {
		return nil, &ChoiceError{Selector: unfit, Readers: all}
	}
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return !chosen[name] }), nil
}

func fitting(all []string, sel string, serial func(string) string) (fit []string) {
	if slices.Contains(all, sel) {
		return []string{sel}
	}
	for _, name := range all {
		if isPattern(sel) && matches(sel, name) || !isPattern(sel) && sel != "" && strings.EqualFold(serial(name), sel) {
			fit = append(fit, name)
		}
	}
	return fit
}

func isPattern(sel string) bool { return strings.ContainsAny(sel, "*?") }

// matches reports whether a pattern fits a whole name.
func matches(pattern, name string) bool {
	p, n := []rune(pattern), []rune(name)
	star, from := -1, 0 // the last *, and where what it stands for ends
	i, at := 0, 0
	for at < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, from = i, at
			i++
		case i < len(p) && (p[i] == '?' || p[i] == n[at]):
			i, at = i+1, at+1
		case star >= 0:
			from++
			i, at = star+1, from
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
