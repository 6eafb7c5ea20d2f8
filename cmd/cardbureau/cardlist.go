package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"cardbureau/cardio/gp"
	"cardbureau/cardio/gp/content"
)

type contentList struct {
	contentCard
}

func (contentList) Example() string {
	return `cardbureau card content list --reader "ACS *" --data /srv/bureau`
}

// listReport is what is on a card.
type listReport struct {
	Card          string            `json:"card"` // serial number of the blank
	Chip          string            `json:"chip"`
	Stock         string            `json:"stock"`
	KeyVersion    string            `json:"keyVersion"` // that opened it
	CardManager   listEntry         `json:"cardManager"`
	Domains       []listEntry       `json:"securityDomains"`
	Applications  []listEntry       `json:"applications"`
	Packages      []listEntry       `json:"packages"`
	Keys          []cardKey         `json:"keys"`
	FreeMemory    *int              `json:"freeMemory,omitempty"`         // bytes, non-volatile
	FreeTransient *int              `json:"freeVolatileMemory,omitempty"` // bytes
	CPLC          map[string]string `json:"cplc"`
	Notes         []string          `json:"notes,omitempty"`
}

// listEntry is one object of the registry.
type listEntry struct {
	AID        string   `json:"aid"`
	State      string   `json:"state"`
	Privileges []string `json:"privileges,omitempty"`
	Package    string   `json:"package,omitempty"`        // that it was made of
	Domain     string   `json:"securityDomain,omitempty"` // that it is with
	Version    string   `json:"version,omitempty"`        // of a package
	Modules    []string `json:"modules,omitempty"`        // of a package
	Implicit   []string `json:"implicitSelection,omitempty"`
}

func (c contentList) Run(ctx context.Context, g *globals) error {
	card, done, err := c.open(ctx, g, false)
	if err != nil {
		return err
	}
	defer done()
	inv, err := card.Inventory(ctx)
	if err != nil {
		return fmt.Errorf("card %s: %w", card.Serial, err)
	}
	r := newListReport(inv)
	r.Card, r.Chip, r.Stock = card.Serial, card.Chip.Name, string(card.Blank.State)
	r.KeyVersion, r.CPLC = fmt.Sprintf("%02X", card.KeyVersion), cplcFields(card.CPLC)
	if g.JSON {
		return printJSON(r)
	}
	r.print(os.Stdout)
	return nil
}

func newListReport(inv *content.Inventory) *listReport {
	r := &listReport{
		CardManager: newListEntry(inv.ISD, gp.CardStateName), Keys: cardKeys(inv.Keys), Notes: inv.Notes,
		Domains: []listEntry{}, Applications: []listEntry{}, Packages: []listEntry{},
	}
	for _, e := range inv.Domains {
		r.Domains = append(r.Domains, newListEntry(e, gp.DomainStateName))
	}
	for _, e := range inv.Applications {
		r.Applications = append(r.Applications, newListEntry(e, gp.ApplicationStateName))
	}
	for _, e := range inv.LoadFiles {
		r.Packages = append(r.Packages, newListEntry(e, gp.LoadFileStateName))
	}
	if inv.Resources != nil {
		for _, n := range []struct {
			from int
			to   **int
		}{{inv.Resources.NonVolatile, &r.FreeMemory}, {inv.Resources.Volatile, &r.FreeTransient}} {
			if n.from >= 0 {
				*n.to = &n.from
			}
		}
	}
	return r
}

func newListEntry(e gp.RegistryEntry, state func(byte) string) listEntry {
	out := listEntry{AID: content.AID(e.AID), State: state(e.LifeCycle)}
	if p, err := gp.ParsePrivileges(e.Privileges); err == nil {
		out.Privileges = p.Names()
	}
	if len(e.LoadFile) > 0 {
		out.Package = content.AID(e.LoadFile)
	}
	if len(e.SecurityDomain) > 0 {
		out.Domain = content.AID(e.SecurityDomain)
	}
	if len(e.Version) == 2 {
		out.Version = fmt.Sprintf("%d.%d", e.Version[0], e.Version[1])
	}
	for _, m := range e.Modules {
		out.Modules = append(out.Modules, content.AID(m))
	}
	for _, b := range e.Implicit {
		out.Implicit = append(out.Implicit, fmt.Sprintf("%02X", b))
	}
	return out
}

// cardKeys is the key information in words.
func cardKeys(keys []gp.KeyInformation) []cardKey {
	out := []cardKey{}
	for _, k := range keys {
		for _, t := range k.Components {
			out = append(out, cardKey{Version: fmt.Sprintf("%02X", k.Version), ID: int(k.ID), Type: gp.KeyTypeName(t.Type), Bits: 8 * t.Length})
		}
	}
	return out
}

func (r *listReport) print(w io.Writer) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-18s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("Card", "%s, %s, %s in the stock, opened with keys of version %s", r.Card, r.Chip, r.Stock, r.KeyVersion)
	line("Card manager", "%s", r.CardManager.text())
	for _, e := range r.Domains {
		line("Security domain", "%s", e.text())
	}
	for _, e := range r.Applications {
		line("Application", "%s", e.text())
	}
	for _, e := range r.Packages {
		line("Package", "%s", e.text())
		for _, m := range e.Modules {
			line("", "applet %s", m)
		}
	}
	for _, k := range r.Keys {
		line("Key", "version %s number %d, %s %d bits", k.Version, k.ID, k.Type, k.Bits)
	}
	if r.FreeMemory != nil {
		line("Free memory", "%d bytes", *r.FreeMemory)
	}
	if r.FreeTransient != nil {
		line("Free volatile", "%d bytes", *r.FreeTransient)
	}
	for _, f := range cplcOrder {
		line("CPLC", "%-26s %s", f.text, r.CPLC[f.name])
	}
	for _, n := range r.Notes {
		line("Note", "%s", n)
	}
}

func (e listEntry) text() string {
	parts := []string{e.AID}
	if e.Version != "" {
		parts = append(parts, "version "+e.Version)
	}
	parts = append(parts, e.State)
	if e.Package != "" {
		parts = append(parts, "of package "+e.Package)
	}
	if e.Domain != "" {
		parts = append(parts, "with "+e.Domain)
	}
	if len(e.Implicit) > 0 {
		parts = append(parts, "selected by itself ("+strings.Join(e.Implicit, " ")+")")
	}
	out := strings.Join(parts, ", ")
	if len(e.Privileges) > 0 {
		out += ": " + strings.Join(e.Privileges, ", ")
	}
	return out
}
