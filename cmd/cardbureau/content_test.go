package main

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/gp/cap/captest"
	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/virtual/rack"
	"cardbureau/personalization/bureau"
)

const (
	contentPackage = "F000000001"
	contentApplet  = "F00000000101"
)

// capFile writes a CAP file with code of a size.
func (d *house) capFile(name string, code int) string {
	d.Helper()
	jar, err := captest.File{
		Package: []byte{0xF0, 0, 0, 0, 1}, Applet: []byte{0xF0, 0, 0, 0, 1, 1}, Imports: []captest.Import{captest.Framework}, Code: code,
	}.JAR()
	if err != nil {
		d.Fatal(err)
	}
	name = filepath.Join(d.dir, name)
	if err := os.WriteFile(name, jar, 0o600); err != nil {
		d.Fatal(err)
	}
	return name
}

// apdus is how many commands the card in the reader has had.
func (d *house) apdus() int {
	d.Helper()
	a, err := d.rack.Do(d.Context(), rack.Request{Op: "status"})
	if err != nil {
		d.Fatal(err)
	}
	return a.Slots[0].APDUs
}

// auditRows counts them, and holds their chain to itself.
func (d *house) auditRows() int {
	d.Helper()
	var r struct{ Rows int }
	d.parse(d.want(0, "", "audit", "verify", "--json"), &r)
	return r.Rows
}

func (d *house) content(args ...string) []string { return append([]string{"card", "content"}, args...) }

func (d *house) list() (r listReport) {
	d.Helper()
	d.parse(d.want(0, "", d.content("list", "--json")...), &r)
	return r
}

func (r listReport) find(aid string) *listEntry {
	for _, list := range [][]listEntry{r.Packages, r.Applications, r.Domains} {
		if i := slices.IndexFunc(list, func(e listEntry) bool { return e.AID == aid }); i >= 0 {
			return &list[i]
		}
	}
	return nil
}

// TestCardContent manages a card's contents over a real PC/SC service.
func TestCardContent(t *testing.T) {
	d := newHouse(t)
	d.order(rack.Request{Op: "next"})
	file := d.capFile("applet.cap", 3000)
	before := d.list()
	if before.Stock != "on-hand" || before.KeyVersion != "30" || len(before.Keys) != 3 || before.CardManager.State != "OP_READY" || len(before.CPLC) != len(cplcOrder) {
		t.Errorf("%+v", before)
	}
	if out := d.want(0, "", d.content("list")...); !strings.Contains(out, "Card manager") || !strings.Contains(out, "Security Domain, Card Lock") {
		t.Errorf("the list says %s", out)
	}

	t.Run("load", func(t *testing.T) { d.loading(t, file) })
	t.Run("install", func(t *testing.T) { d.installing(t) })
	t.Run("lock", func(t *testing.T) { d.locking(t) })
	t.Run("delete", func(t *testing.T) { d.deleting(t) })
	t.Run("lost", func(t *testing.T) { d.lostInLoad(t, file) })
}

func (d *house) loading(t *testing.T, file string) {
	var dry, r contentReport
	d.parse(d.want(0, "", d.content("load", file, "--hash", "sha256", "--dry-run", "--json")...), &dry)
	if dry.Result != "nothing-sent" || len(dry.Steps) != 2 || len(dry.Steps[1].Commands) < 10 || dry.Object != contentPackage {
		t.Errorf("%+v", dry)
	}
	if out := d.want(0, "", d.content("load", file, "--dry-run")...); !strings.Contains(out, "nothing was sent") || !strings.Contains(out, "needs javacard.framework version 1.3") {
		t.Errorf("a dry run says %s", out)
	}
	if out := d.want(exitFailed, "", d.content("load", file, "--expect", strings.Repeat("00", 32))...); !strings.Contains(out, "hash is not an allowed one") {
		t.Errorf("a wrong hash: %s", out)
	}
	if d.list().find(contentPackage) != nil {
		t.Error("something was loaded")
	}
	if out := d.want(exitFailed, "", d.content("load", d.capFile("huge.cap", 60000), "--memory", "4000000")...); !strings.Contains(out, "not enough memory") || !strings.Contains(out, "nothing on the card was changed") {
		t.Errorf("a full card: %s", out)
	}
	rows := d.auditRows()
	d.parse(d.want(0, "", d.content("load", file, "--hash", "sha256", "--json")...), &r)
	if got := d.auditRows() - rows; got != 2 {
		t.Errorf("%d audit rows for a change: it has begun and has ended", got)
	}
	if r.Result != "done" || len(r.Steps[1].Commands) != len(dry.Steps[1].Commands) {
		t.Errorf("%+v", r)
	}
	if e := d.list().find(contentPackage); e == nil || e.State != "LOADED" || !slices.Equal(e.Modules, []string{contentApplet}) || e.Version != "1.0" {
		t.Errorf("%+v", e)
	}
	if out := d.want(exitFailed, "", d.content("load", file)...); !strings.Contains(out, "has it already") {
		t.Errorf("loaded twice: %s", out)
	}
}

func (d *house) installing(t *testing.T) {
	install := d.content("install", "--package", contentPackage, "--applet", contentApplet)
	d.want(0, "", append(install, "--params", "0102", "--make-selectable")...)
	if e := d.list().find(contentApplet); e == nil || e.State != "SELECTABLE" || e.Package != contentPackage {
		t.Errorf("%+v", e)
	}
	if out := d.want(exitFailed, "", install...); !strings.Contains(out, "choose another --instance") {
		t.Errorf("installed twice: %s", out)
	}
	// Anybody's software can select it.
	if _, _, err := bureau.UseReaders(d.dir); err != nil {
		t.Fatal(err)
	}
	pc, err := pcsc.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	names, err := pc.Readers()
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	conn, err := pc.Connect(t.Context(), names[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(pcsc.Unpower)
	aid, err := hex.DecodeString(contentApplet)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apdu.Must(t.Context(), conn, gp.SelectCommand(aid)); err != nil {
		t.Error(err)
	}
}

func (d *house) locking(t *testing.T) {
	d.want(0, "", d.content("lock", contentApplet)...)
	if e := d.list().find(contentApplet); e == nil || e.State != "LOCKED" {
		t.Errorf("%+v", e)
	}
	if out := d.want(exitFailed, "", d.content("lock", contentApplet)...); !strings.Contains(out, "is locked already") {
		t.Errorf("locked twice: %s", out)
	}
	d.want(0, "", d.content("unlock", contentApplet)...)
	if e := d.list().find(contentApplet); e == nil || e.State != "SELECTABLE" {
		t.Errorf("%+v", e)
	}
	if out := d.want(exitFailed, "", d.content("lock", "--card", "--yes")...); !strings.Contains(out, "OP_READY does not become CARD_LOCKED") {
		t.Errorf("a fresh card locked: %s", out)
	}
	if out := d.want(0, "", d.content("lock", "--card", "--terminate", "--dry-run")...); !strings.Contains(out, "nothing undoes this") {
		t.Errorf("terminated in a dry run: %s", out)
	}
}

func (d *house) deleting(t *testing.T) {
	if out := d.want(exitFailed, "", d.content("delete", contentPackage)...); !strings.Contains(out, "is used by "+contentApplet) {
		t.Errorf("deleted under its application: %s", out)
	}
	if out := d.want(exitFailed, "", d.content("delete", "A000000151000000")...); !strings.Contains(out, "which stays") {
		t.Errorf("the card manager deleted: %s", out)
	}
	d.want(0, "", d.content("delete", contentPackage, "--related")...)
	if r := d.list(); r.find(contentPackage) != nil || r.find(contentApplet) != nil {
		t.Errorf("%+v", r)
	}
}

// lostInLoad takes the card out in the middle of LOAD. What such a card holds
// then, content's own tests see.
func (d *house) lostInLoad(t *testing.T, file string) {
	start := d.apdus()
	d.want(0, "", d.content("load", file, "--dry-run")...)
	reading := d.apdus() - start
	d.order(rack.Request{Op: "hold", At: d.apdus() + reading + 5})
	load := d.command(d.content("load", file)...)
	var said strings.Builder
	load.Stdout, load.Stderr = &said, &said
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	d.order(rack.Request{Op: "wait-held"})
	d.order(rack.Request{Op: "remove"})
	_ = load.Wait()
	if got := load.ProcessState.ExitCode(); got != exitInDoubt || !strings.Contains(said.String(), "drops a load that was not finished; look with card content list") {
		t.Errorf("exit status %d: %s", got, &said)
	}
}

// TestContentOfOthers: an issued card is looked at and not touched, a card that
// is not listed is not opened, and keys that failed once are not tried again.
func TestContentOfOthers(t *testing.T) {
	d := newHouse(t)
	// A profile that takes the issuer's master for the transport keys.
	chip, err := os.ReadFile("../../firmware-profiles/chips/virtual-gp.yaml")
	if err != nil {
		t.Fatal(err)
	}
	wrong := strings.Replace(string(chip), "cmk.virtual/1", "cmk.issuer/1", 1)
	config := filepath.Join(d.dir, "cardbureau.toml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "folder = \"\"", "folder = \"wrong\"", 1)
	if wrong == string(chip) || changed == string(text) {
		t.Fatal("nothing was changed")
	}
	for name, b := range map[string]string{"wrong/chips/virtual-gp.yaml": wrong, "cardbureau.toml": changed} {
		name = filepath.Join(d.dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.order(rack.Request{Op: "next"})
	if out := d.want(exitFailed, "", d.content("list")...); !strings.Contains(out, "key version 30") || !strings.Contains(out, "not tried again") {
		t.Errorf("wrong keys: %s", out)
	}
	sent := d.apdus()
	if out := d.want(exitFailed, "", d.content("list")...); !strings.Contains(out, "key version 30, before") {
		t.Errorf("wrong keys again: %s", out)
	}
	var report cardReport
	d.parse(d.want(0, "", "card", "inspect", "--json"), &report)
	if report.Stock == nil || !slices.Equal(report.Stock.FailedKeys, []int{0x30}) {
		t.Errorf("%+v", report.Stock)
	}
	if sent > 20 {
		t.Errorf("%d commands for one authentication", sent)
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := d.want(exitFailed, "", d.content("list")...); !strings.Contains(out, "before") {
		t.Errorf("the right keys on a chip whose version failed: %s", out)
	}
	d.order(rack.Request{Op: "out", Bin: rack.Rejected})

	records := filepath.Join(d.dir, "records.jws")
	if err := os.WriteFile(records, []byte(d.want(0, "", "virtual", "records", "1")), 0o600); err != nil {
		t.Fatal(err)
	}
	d.want(0, "", "issue", records)
	issued, err := rack.Cards(filepath.Join(d.dir, "virtual"), rack.Issued)
	if err != nil || len(issued) != 1 {
		t.Fatal(issued, err)
	}
	d.order(rack.Request{Op: "insert", Card: issued[0]})
	if r := d.list(); r.Stock != "issued" || r.KeyVersion != "31" || r.CardManager.State != "SECURED" {
		t.Errorf("%+v", r)
	}
	file := d.capFile("applet.cap", 1000)
	for _, args := range [][]string{{"load", file}, {"load", file, "--dry-run"}, {"lock", "--card", "--yes"}, {"delete", "A0000002471001"}} {
		if out := d.want(exitFailed, "", d.content(args...)...); !strings.Contains(out, "the stock has it as issued: its contents are not changed") {
			t.Errorf("%v of an issued card: %s", args, out)
		}
	}
}
