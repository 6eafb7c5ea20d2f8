package virtual

import (
	"bytes"
	"maps"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// installer keeps the parameters that it was installed with; "no" is refused
// after it has written, "panic" fails inside.
type installer struct{ probe }

func (i *installer) Install(e Env, params []byte) apdu.StatusWord {
	e.Memory().Set("params", params)
	switch string(params) {
	case "no":
		return apdu.SWWrongData
	case "panic":
		panic("as the test wants")
	}
	return apdu.SWSuccess
}

func TestInstallParametersReachTheApplet(t *testing.T) {
	keys := testKeys(0x30, 16)
	blank := testBlank(keys)
	modules := testModules()
	modules[aidKey(moduleAID)] = func() Applet { return &installer{} }
	c, err := New(Config{Blank: &blank, Applets: modules})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, card: c, keys: keys, length: 8}
	h.open(0x03)
	h.loadAll(testCAP(10))
	before := contents(c.mem)
	install := func(parameters []byte) apdu.Command {
		return forInstall(installBoth, packageAID, moduleAID, appAID, []byte{0}, parameters)
	}
	h.must(apdu.SWWrongData, install(tlv.Encode(0xC9, []byte("no"))))
	if !maps.Equal(contents(c.mem), before) {
		t.Error("a refused installation left something")
	}
	h.must(apdu.SWNoPreciseDiagnosis, install(tlv.Encode(0xC9, []byte("panic"))))
	if !maps.Equal(contents(c.mem), before) {
		t.Error("a failed installation left something")
	}
	h.open(0x03)
	for _, parameters := range []string{"", "C900", "C9023132"} {
		h.must(apdu.SWSuccess, install(unhex(t, parameters)))
		want := ""
		if len(parameters) > 4 {
			want = "12"
		}
		if got := c.mem.Space(appSpace + aidKey(appAID)).Get("params"); got == nil || string(got) != want {
			t.Errorf("%s: %q", parameters, got)
		}
		// The module runs the code that the configuration has for it.
		h.want(apdu.SWSuccess, "00A4040007F0CB000001010100")
		if got := h.want(apdu.SWSuccess, "0030000000"); !bytes.Equal(got, []byte{7}) {
			t.Errorf("%X", got)
		}
		h.open(0x03)
		h.must(apdu.SWSuccess, deletionOf(appAID))
	}
	// Most of 8 bytes, of which it has 2 already.
	h.must(apdu.SWNotEnoughMemory, install(unhex(t, "C9023132EF04C8020001")))
	h.must(apdu.SWSuccess, install(unhex(t, "C9023132EF04C8020008")))
	h.want(apdu.SWSuccess, "00A4040007F0CB000001010100")
	h.want(apdu.SWSuccess, "0010000006313233343536")
	h.want(apdu.SWNotEnoughMemory, "001000000137")
	h.want(apdu.SWSuccess, "0030000000") // it stays selected
	c.Reset()
	h.want(apdu.SWSuccess, "00A4040007F0CB000001010100")
	h.want(apdu.SWNotEnoughMemory, "001000000137")
	if got := c.mem.Space(appSpace + aidKey(appAID)).Get("value"); string(got) != "123456" {
		t.Errorf("%q", got)
	}
}

func TestInstallForInstallRefusals(t *testing.T) {
	domainFile, domainModule := mustHex(SecurityDomainLoadFileAID), mustHex(SecurityDomainModuleAID)
	install := func(privileges, parameters string) apdu.Command {
		return forInstall(installBoth, packageAID, moduleAID, appAID, mustHex(privileges), mustHex(parameters))
	}
	domain := func(privileges string) apdu.Command {
		return forInstall(installBoth, domainFile, domainModule, domainAID, mustHex(privileges), nil)
	}
	for name, test := range map[string]struct {
		command apdu.Command
		sw      apdu.StatusWord
	}{
		"all parameters":      {install("00", "C90101EF1CC7020010C8020010D7020010D8020010CA0101CB0101CF0181CF0141EA0480020000B603930101"), apdu.SWSuccess},
		"C9 later":            {install("00", "EF00C900"), apdu.SWWrongData},
		"C9 twice":            {install("00", "C900C900"), apdu.SWWrongData},
		"cut off":             {install("00", "C902"), apdu.SWWrongData},
		"unknown tag":         {install("00", "C900CB00"), apdu.SWWrongData},
		"of load":             {install("00", "C900EF04C6020010"), apdu.SWWrongData},
		"cut off in EF":       {install("00", "C900EF03C70200"), apdu.SWWrongData},
		"no objects in EA":    {install("00", "C900EA0180"), apdu.SWWrongData},
		"reserved over quota": {install("00", "C900EF08C8020010D8020011"), apdu.SWWrongData},
		"RAM over quota":      {install("00", "C900EF08C7020010D7020011"), apdu.SWWrongData},
		"no RAM":              {install("00", "C900EF04D7022001"), apdu.SWNotEnoughMemory},
		"implicit nowhere":    {install("00", "C900EF03CF0101"), apdu.SWWrongData},
		"implicit reserved":   {install("00", "C900EF03CF0160"), apdu.SWWrongData},
		"implicit channel 20": {install("00", "C900EF03CF0154"), apdu.SWWrongData},
		"implicit twice":      {install("00", "C900EF06CF0181CF0181"), apdu.SWWrongData},
		"default, taken":      {install("00", "C900EF03CF0140"), apdu.SWConditionsOfUseNotSatisfied},
		"Card Reset, taken":   {install("04", "C900"), apdu.SWConditionsOfUseNotSatisfied},
		"two privilege bytes": {install("0000", "C900"), apdu.SWWrongData},
		"no privileges":       {install("", "C900"), apdu.SWWrongData},
		"domain":              {install("80", "C900"), apdu.SWWrongData},
		"DAP":                 {install("40", "C900"), apdu.SWWrongData},
		"delegated":           {install("20", "C900"), apdu.SWWrongData},
		"mandated DAP":        {install("01", "C900"), apdu.SWWrongData},
		"authorized":          {install("004000", "C900"), apdu.SWWrongData},
		"token verification":  {install("002000", "C900"), apdu.SWWrongData},
		"final":               {install("000200", "C900"), apdu.SWWrongData},
		"receipts":            {install("000080", "C900"), apdu.SWWrongData},
		"reserved bit":        {install("000001", "C900"), apdu.SWWrongData},
		"contactless":         {install("000020", "C900"), apdu.SWWrongData},
		"many":                {install("1A9D00", "C900"), apdu.SWSuccess},
		"module elsewhere":    {forInstall(installBoth, packageAID, mustHex(LDSAID), appAID, []byte{0}, nil), apdu.SWReferencedDataNotFound},
		"no such file":        {forInstall(installBoth, appAID, moduleAID, appAID, []byte{0}, nil), apdu.SWReferencedDataNotFound},
		"AID of a file":       {forInstall(installBoth, packageAID, moduleAID, packageAID, []byte{0}, nil), apdu.SWConditionsOfUseNotSatisfied},
		"AID of another":      {forInstall(installBoth, packageAID, moduleAID, mustHex(LDSAID), []byte{0}, nil), apdu.SWConditionsOfUseNotSatisfied},
		"AID of the ISD":      {forInstall(installBoth, packageAID, moduleAID, mustHex(IssuerSecurityDomainAID), []byte{0}, nil), apdu.SWConditionsOfUseNotSatisfied},
		"long AID":            {forInstall(installBoth, packageAID, moduleAID, make([]byte, 17), []byte{0}, nil), apdu.SWWrongData},
		"its module's AID":    {forInstall(installBoth, packageAID, moduleAID, nil, []byte{0}, nil), apdu.SWSuccess},
		"no domain":           {domain("00"), apdu.SWWrongData},
		"mandated alone":      {domain("81"), apdu.SWWrongData},
		"both managements":    {domain("A04000"), apdu.SWWrongData},
		"final domain":        {domain("800200"), apdu.SWWrongData},
		"all of a domain":     {domain("DBDD00"), apdu.SWSuccess},
	} {
		h, _ := newHost(t, 16)
		h.open(0x01)
		h.loadAll(testCAP(10))
		if _, sw := h.send(test.command); sw != test.sw {
			t.Errorf("%s: %v, want %v", name, sw, test.sw)
		}
	}
}

// TestFullRegistry: the card holds so many applications.
func TestFullRegistry(t *testing.T) {
	h, c := newHost(t, 16)
	h.open(0x01)
	h.loadAll(testCAP(10))
	for i := len(c.reg.apps); i < maxApplications; i++ {
		h.must(apdu.SWSuccess, forInstall(installBoth, packageAID, moduleAID, append(bytes.Clone(packageAID), 2, byte(i)), []byte{0}, nil))
	}
	h.must(apdu.SWNotEnoughMemory, forInstall(installBoth, packageAID, moduleAID, appAID, []byte{0}, nil))
	if got := h.list(0x40); len(got) != maxApplications {
		t.Errorf("%d applications", len(got))
	}
}

func TestMakeSelectable(t *testing.T) {
	h, c := newHost(t, 16)
	h.open(0x01)
	h.loadAll(testCAP(10))
	selectable := func(privileges, parameters string) apdu.Command {
		return cmd(insInstall, installMakeSelectable, 0, lv(nil, nil, appAID, mustHex(privileges), mustHex(parameters), nil)...)
	}
	h.must(apdu.SWReferencedDataNotFound, selectable("00", ""))
	h.must(apdu.SWSuccess, forInstall(installForInstall, packageAID, moduleAID, appAID, []byte{0}, nil))
	h.must(apdu.SWConditionsOfUseNotSatisfied, selectable("04", ""))           // the passport is the default
	h.must(apdu.SWConditionsOfUseNotSatisfied, selectable("00", "EF03CF0140")) // likewise
	h.must(apdu.SWWrongData, selectable("00", "C900"))                         // of install
	h.must(apdu.SWWrongData, selectable("0000", ""))                           // privileges
	h.must(apdu.SWSuccess, cmd(insSetStatus, 0x40, 0x80, appAID...))           // locked before
	h.must(apdu.SWConditionsOfUseNotSatisfied, selectable("00", ""))           //
	h.must(apdu.SWSuccess, cmd(insSetStatus, 0x40, 0x00, appAID...))           //
	h.must(apdu.SWSuccess, deletionOf(mustHex(LDSAID)))                        // the default is free
	h.must(apdu.SWSuccess, selectable("04", ""))                               //
	h.must(apdu.SWConditionsOfUseNotSatisfied, selectable("04", ""))           // once
	if got := fieldOf(h.list(0x40)[aidKey(appAID)], 0xC5); got != "040000" {
		t.Errorf("privileges %s", got)
	}
	c.Reset()
	h.want(apdu.SWInstructionNotSupported, "80CA9F7F00") // the application is selected
	h.open(0x01)
	if got := fieldOf(h.list(0x80)[IssuerSecurityDomainAID], 0xC5); got != "98DE00" {
		t.Errorf("privileges of the issuer security domain %s", got)
	}
	// Locked or deleted, it leaves the issuer security domain the default.
	h.must(apdu.SWSuccess, cmd(insSetStatus, 0x40, 0x80, appAID...))
	c.Reset()
	h.want(apdu.SWSuccess, "80CA9F7F00")
	h.open(0x01)
	h.must(apdu.SWSuccess, deletionOf(appAID))
	if got := fieldOf(h.list(0x80)[IssuerSecurityDomainAID], 0xC5); got != "9CDE00" {
		t.Errorf("privileges of the issuer security domain %s", got)
	}
	// Implicit selection on logical channel 0 does the same as the privilege.
	h.must(apdu.SWSuccess, forInstall(installBoth, packageAID, moduleAID, appAID, []byte{0}, unhex(t, "C900EF03CF01C0")))
	h.card = on(t, c.mem, nil)
	h.want(apdu.SWInstructionNotSupported, "80CA9F7F00")
}

func TestRegistryUpdate(t *testing.T) {
	h, c := newHost(t, 16)
	h.open(0x01)
	lds := mustHex(LDSAID)
	h.installDomain(domainAID, PrivilegeSecurityDomain)
	h.must(apdu.SWSuccess, update(nil, lds, unhex(t, "10"), nil))
	h.must(apdu.SWSuccess, update(nil, domainAID, unhex(t, "804000"), nil))
	h.must(apdu.SWWrongData, update(nil, lds, unhex(t, "80"), nil))       // becomes no domain
	h.must(apdu.SWWrongData, update(nil, domainAID, unhex(t, "00"), nil)) // stays one
	h.must(apdu.SWWrongData, update(nil, lds, unhex(t, "0000"), nil))
	h.must(apdu.SWWrongData, update(nil, lds, nil, unhex(t, "C900")))
	h.must(apdu.SWReferencedDataNotFound, update(nil, appAID, unhex(t, "10"), nil))
	h.must(apdu.SWReferencedDataNotFound, update(lds, lds, nil, nil))
	h.must(apdu.SWConditionsOfUseNotSatisfied, update(domainAID, domainAID, nil, nil))
	h.must(apdu.SWConditionsOfUseNotSatisfied, update(nil, nil, unhex(t, "9EDE00"), nil)) // the issuer's own
	h.must(apdu.SWConditionsOfUseNotSatisfied, update(nil, mustHex(IssuerSecurityDomainAID), unhex(t, "80"), nil))
	// Association, privileges and implicit selection, all or nothing.
	h.must(apdu.SWWrongData, update(domainAID, lds, unhex(t, "000001"), nil))
	if got := fieldOf(h.list(0x40)[LDSAID], 0xCC); got != IssuerSecurityDomainAID {
		t.Errorf("a refused update left it with %s", got)
	}
	h.must(apdu.SWSuccess, update(domainAID, lds, unhex(t, "02"), unhex(t, "EF03CF0140")))
	h.card = on(t, c.mem, nil)
	h.want(apdu.SWSuccess, "0030000000") // selected by itself after the reset
	h.open(0x01)
	if a := h.list(0x40)[LDSAID]; fieldOf(a, 0xCC) != aidKey(domainAID) || fieldOf(a, 0xC5) != "020000" {
		t.Errorf("%v", a)
	}
	// One offers cardholder verification, one is the default.
	h.loadAll(testCAP(10))
	h.must(apdu.SWConditionsOfUseNotSatisfied, forInstall(installBoth, packageAID, moduleAID, appAID, []byte{0x02}, nil))
	h.must(apdu.SWSuccess, forInstall(installBoth, packageAID, moduleAID, appAID, []byte{0}, nil))
	h.must(apdu.SWConditionsOfUseNotSatisfied, update(nil, appAID, []byte{0x02}, nil))
	h.must(apdu.SWConditionsOfUseNotSatisfied, update(nil, appAID, []byte{0x04}, nil))
	h.must(apdu.SWConditionsOfUseNotSatisfied, update(nil, appAID, nil, unhex(t, "EF03CF0140")))
}

// TestStatusByPrivilege: card life cycle and locks by what a domain may.
func TestStatusByPrivilege(t *testing.T) {
	lds := mustHex(LDSAID)
	for _, test := range []struct {
		privileges uint32
		command    apdu.Command
		sw         apdu.StatusWord
	}{
		{0, cmd(insSetStatus, 0x40, 0x80, lds...), apdu.SWConditionsOfUseNotSatisfied},
		{PrivilegeGlobalLock, cmd(insSetStatus, 0x40, 0x80, lds...), apdu.SWSuccess},
		{0, cmd(insSetStatus, 0x80, byte(Terminated)), apdu.SWConditionsOfUseNotSatisfied},
		{PrivilegeCardTerminate, cmd(insSetStatus, 0x80, byte(Terminated)), apdu.SWSuccess},
		{0, cmd(insSetStatus, 0x80, byte(CardLocked)), apdu.SWConditionsOfUseNotSatisfied},
		{PrivilegeCardLock, cmd(insSetStatus, 0x80, byte(CardLocked)), apdu.SWSuccess},
		{PrivilegeCardLock | PrivilegeCardTerminate, cmd(insSetStatus, 0x80, byte(Secured)), apdu.SWConditionsOfUseNotSatisfied},
		{0, deletionOf(lds), apdu.SWConditionsOfUseNotSatisfied},
		{PrivilegeGlobalDelete, deletionOf(lds), apdu.SWSuccess},
		{PrivilegeGlobalDelete, deletionOf(mustHex(IssuerSecurityDomainAID)), apdu.SWConditionsOfUseNotSatisfied},
		{0, cmd(insGetStatus, 0x80, 2, 0x4F, 0), apdu.SWReferencedDataNotFound},
		{PrivilegeGlobalRegistry, cmd(insGetStatus, 0x80, 2, 0x4F, 0), apdu.SWSuccess},
	} {
		h, c := newHost(t, 16)
		h.open(0x01)
		h.must(apdu.SWSuccess, cmd(insSetStatus, 0x80, byte(Initialized)))
		h.must(apdu.SWSuccess, cmd(insSetStatus, 0x80, byte(Secured)))
		h.installDomain(domainAID, PrivilegeSecurityDomain|test.privileges)
		h.openAt(domainAID, 0x01)
		if _, sw := h.send(test.command); sw != test.sw {
			t.Errorf("privileges %06X, %v: %v, want %v", test.privileges, test.command, sw, test.sw)
		}
		if c.State() == CardLocked {
			// Only the issuer security domain is left, and unlocks.
			h.want(apdu.SWFunctionNotSupported, "00A4040006F0CB00000D0100")
			h.want(apdu.SWSelectedFileInvalidated, "00A4040000")
			h.initUpdate(0)
			if _, sw := h.raw(h.authentication(1)); !sw.OK() {
				t.Fatal(sw)
			}
			h.must(apdu.SWConditionsOfUseNotSatisfied, forLoad(packageAID, nil, nil, nil, nil))
			h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insSetStatus, 0x40, 0x80, domainAID...))
			h.must(apdu.SWSuccess, cmd(insSetStatus, 0x80, byte(Secured)))
		}
	}
}

// TestPersonalizedBySetStatus: a domain says itself that it is personalized.
func TestPersonalizedBySetStatus(t *testing.T) {
	h, _ := newHost(t, 16)
	h.open(0x01)
	h.installDomain(domainAID, PrivilegeSecurityDomain)
	h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insSetStatus, 0x40, 0x0F, domainAID...)) // another's
	h.openAt(domainAID, 0x01)
	h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insSetStatus, 0x40, 0x07, domainAID...))
	h.must(apdu.SWSuccess, cmd(insSetStatus, 0x40, 0x0F, domainAID...))
	if got := fieldOf(h.list(0x40)[aidKey(domainAID)], 0x9F70); got != "0F" {
		t.Errorf("state %s", got)
	}
}

// TestPersonalizationOfADomain: its parent stores its data.
func TestPersonalizationOfADomain(t *testing.T) {
	h, c := newHost(t, 16)
	h.open(0x01)
	h.installDomain(domainAID, PrivilegeSecurityDomain)
	h.must(apdu.SWSuccess, cmd(insInstall, installPersonalization, 0, lv(nil, nil, domainAID, nil, nil, nil)...))
	h.must(apdu.SWSuccess, cmd(insStoreData, 0x08, 0, unhex(t, "0042021122")...))
	h.must(apdu.SWSuccess, cmd(insStoreData, 0x88, 1, unhex(t, "0045023344")...))
	h.must(apdu.SWSuccess, cmd(insInstall, installPersonalization, 0, lv(nil, nil, domainAID, nil, nil, nil)...))
	h.must(apdu.SWReferencedDataNotFound, cmd(insStoreData, 0x08, 0, unhex(t, "9F7F00")...))
	h.must(apdu.SWIncorrectP1P2, cmd(insStoreData, 0x08, 1, unhex(t, "0042021122")...)) // the sequence is over
	if !bytes.Equal(c.reg.space.Get("data/42"), DefaultIIN) {
		t.Error("the issuer security domain got it")
	}
	h.want(apdu.SWSuccess, "00A4040006F0CB00000D0100")
	if got := h.want(apdu.SWSuccess, "80CA004500"); !bytes.Equal(got, unhex(t, "45023344")) {
		t.Errorf("%X", got)
	}
}
