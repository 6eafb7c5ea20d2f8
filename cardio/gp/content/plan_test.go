package content_test

import (
	"crypto"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"cardbureau/cardio/gp"
	"cardbureau/cardio/gp/cap"
	"cardbureau/cardio/gp/cap/captest"
	"cardbureau/cardio/gp/content"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

var (
	packageAID = unhex("F000000001")
	appletAID  = unhex("F00000000101")
	domainAID  = unhex("F00000000D01")
	lockedAID  = unhex("F00000000102")
	libraryAID = unhex("F000000009")
	newPackage = unhex("F000000002")
	newApplet  = unhex("F00000000201")
)

// inventory is of an invented card.
func inventory() *content.Inventory {
	return &content.Inventory{
		ISD:     gp.RegistryEntry{AID: gp.ISDAID, LifeCycle: gp.CardSecured, Privileges: []byte{0x80, 0, 0}},
		Domains: []gp.RegistryEntry{{AID: domainAID, LifeCycle: gp.DomainPersonalized, Privileges: []byte{0x80}}},
		Applications: []gp.RegistryEntry{
			{AID: appletAID, LifeCycle: gp.ApplicationSelectable, Privileges: []byte{0}, LoadFile: packageAID},
			{AID: lockedAID, LifeCycle: 0x83 | 0x04, Privileges: []byte{0}, SecurityDomain: domainAID},
		},
		LoadFiles: []gp.RegistryEntry{
			{AID: packageAID, LifeCycle: 1, Modules: [][]byte{appletAID}},
			{AID: libraryAID, LifeCycle: 1, Version: []byte{1, 2}},
		},
		Resources: &gp.CardResources{Applications: -1, NonVolatile: 2000, Volatile: -1},
	}
}

func made(t *testing.T, f captest.File) *cap.File {
	t.Helper()
	out, err := cap.Read(f.IJC())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPlanLoad(t *testing.T) {
	f := captest.File{Package: newPackage, Applet: newApplet, Imports: []captest.Import{captest.Framework, {AID: libraryAID, Major: 1, Minor: 2}}, Code: 1000}
	block := f.IJC()
	good1, good256 := sha1.Sum(block), sha256.Sum256(block)
	p, err := inventory().PlanLoad(made(t, f), content.LoadOptions{MaxData: 239, Hash: crypto.SHA256, Allowed: [][]byte{make([]byte, 20), good1[:]}, Domain: domainAID})
	if err != nil {
		t.Fatal(err)
	}
	// INSTALL [for load], then so many blocks; the hash is in the first.
	if len(p.Steps) != 2 || p.Commands() != 1+(len(block)+4+238)/239 || p.Action != content.Load ||
		!strings.Contains(hex.EncodeToString(p.Steps[0].Commands[0].Data), hex.EncodeToString(good256[:])) || p.Bytes() <= len(block) {
		t.Errorf("%+v", p)
	}
	with := func(change func(*captest.File)) *cap.File {
		g := f
		change(&g)
		return made(t, g)
	}
	extended := made(t, f)
	extended.Extended = true
	for name, test := range map[string]struct {
		file *cap.File
		o    content.LoadOptions
		want error
	}{
		"wrong hash":       {made(t, f), content.LoadOptions{Allowed: [][]byte{make([]byte, 32)}}, content.ErrHash},
		"no hash allowed":  {made(t, f), content.LoadOptions{Allowed: [][]byte{}}, content.ErrHash},
		"extended":         {extended, content.LoadOptions{}, content.ErrExtended},
		"there":            {with(func(g *captest.File) { g.Package = packageAID }), content.LoadOptions{}, content.ErrThere},
		"an application":   {with(func(g *captest.File) { g.Package = appletAID }), content.LoadOptions{}, content.ErrThere},
		"the issuer":       {with(func(g *captest.File) { g.Package = gp.ISDAID; g.Applet = nil }), content.LoadOptions{}, content.ErrThere},
		"no such import":   {with(func(g *captest.File) { g.Imports = []captest.Import{{AID: unhex("F0000000FF"), Major: 1}} }), content.LoadOptions{}, content.ErrImport},
		"a newer import":   {with(func(g *captest.File) { g.Imports = []captest.Import{{AID: libraryAID, Major: 1, Minor: 3}} }), content.LoadOptions{}, content.ErrImport},
		"an older major":   {with(func(g *captest.File) { g.Imports = []captest.Import{{AID: libraryAID, Major: 2}} }), content.LoadOptions{}, content.ErrImport},
		"too large":        {with(func(g *captest.File) { g.Code = 3000 }), content.LoadOptions{}, content.ErrFull},
		"no such domain":   {made(t, f), content.LoadOptions{Domain: newApplet}, content.ErrNotThere},
		"no domain at all": {made(t, f), content.LoadOptions{Domain: appletAID}, content.ErrNotThere},
	} {
		test.o.MaxData = 239
		p, err := inventory().PlanLoad(test.file, test.o)
		var r *content.Refusal
		if p != nil || !errors.Is(err, test.want) || !errors.As(err, &r) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := inventory().PlanLoad(made(t, f), content.LoadOptions{MaxData: 239, Allowed: [][]byte{{1}}}); err == nil {
		t.Error("a hash of one byte")
	}
	if _, err := inventory().PlanLoad(extended, content.LoadOptions{MaxData: 239, Extended: true}); err != nil {
		t.Error(err)
	}
}

func TestPlanInstall(t *testing.T) {
	o := content.InstallOptions{MaxData: 239, LoadFile: packageAID, Module: appletAID, Instance: newApplet, Selectable: true}
	p, err := inventory().PlanInstall(o)
	if err != nil || p.Commands() != 1 || p.Steps[0].Commands[0].P1 != 0x0C || content.AID(p.Object) != "F00000000201" {
		t.Errorf("%+v, %v", p, err)
	}
	for name, test := range map[string]struct {
		change func(*content.InstallOptions)
		want   error
	}{
		"no package":  {func(o *content.InstallOptions) { o.LoadFile = newPackage }, content.ErrNotThere},
		"no module":   {func(o *content.InstallOptions) { o.Module = newApplet }, content.ErrNotThere},
		"taken":       {func(o *content.InstallOptions) { o.Instance = nil }, content.ErrThere},
		"the issuer":  {func(o *content.InstallOptions) { o.Instance = gp.ISDAID }, content.ErrThere},
		"the package": {func(o *content.InstallOptions) { o.Instance = packageAID }, content.ErrThere},
	} {
		bad := o
		test.change(&bad)
		if _, err := inventory().PlanInstall(bad); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPlanDeleteAndLock(t *testing.T) {
	inv := inventory()
	for name, test := range map[string]struct {
		plan func() (*content.Plan, error)
		want error
		data string // P1, P2 and data of the command
	}{
		"application":         {func() (*content.Plan, error) { return inv.PlanDelete(appletAID, false, nil, 239) }, nil, "00004f06f00000000101"},
		"package in use":      {func() (*content.Plan, error) { return inv.PlanDelete(packageAID, false, nil, 239) }, content.ErrInUse, ""},
		"package and all":     {func() (*content.Plan, error) { return inv.PlanDelete(packageAID, true, nil, 239) }, nil, "00804f05f000000001"},
		"domain in use":       {func() (*content.Plan, error) { return inv.PlanDelete(domainAID, false, nil, 239) }, content.ErrInUse, ""},
		"nothing":             {func() (*content.Plan, error) { return inv.PlanDelete(newApplet, true, nil, 239) }, content.ErrNotThere, ""},
		"the issuer":          {func() (*content.Plan, error) { return inv.PlanDelete(gp.ISDAID, true, nil, 239) }, content.ErrIssuer, ""},
		"lock":                {func() (*content.Plan, error) { return inv.PlanLock(appletAID) }, nil, "4087f00000000101"},
		"lock a domain":       {func() (*content.Plan, error) { return inv.PlanLock(domainAID) }, nil, "608ff00000000d01"},
		"lock again":          {func() (*content.Plan, error) { return inv.PlanLock(lockedAID) }, content.ErrState, ""},
		"unlock":              {func() (*content.Plan, error) { return inv.PlanUnlock(lockedAID) }, nil, "4007f00000000102"},
		"unlock the unlocked": {func() (*content.Plan, error) { return inv.PlanUnlock(appletAID) }, content.ErrState, ""},
		"lock a package":      {func() (*content.Plan, error) { return inv.PlanLock(packageAID) }, content.ErrNotThere, ""},
		"lock the issuer":     {func() (*content.Plan, error) { return inv.PlanLock(gp.ISDAID) }, content.ErrIssuer, ""},
		"lock the card":       {func() (*content.Plan, error) { return inv.PlanCard(gp.CardLocked) }, nil, "807f"},
		"terminate":           {func() (*content.Plan, error) { return inv.PlanCard(gp.CardTerminated) }, nil, "80ff"},
		"back":                {func() (*content.Plan, error) { return inv.PlanCard(gp.CardInitialized) }, content.ErrState, ""},
	} {
		p, err := test.plan()
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		c := p.Steps[0].Commands[0]
		if got := hex.EncodeToString(append([]byte{c.P1, c.P2}, c.Data...)); got != test.data {
			t.Errorf("%s: %s, want %s", name, got, test.data)
		}
	}
	for state, final := range map[byte]bool{gp.CardLocked: false, gp.CardTerminated: true} {
		if p, err := inv.PlanCard(state); err != nil || p.Final != final {
			t.Errorf("%s: final %v, %v", gp.CardStateName(state), p.Final, err)
		}
	}
}
