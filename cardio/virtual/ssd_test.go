package virtual

import (
	"bytes"
	"maps"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/tlv"
)

// openAt opens a channel with the application of an AID, or with its domain.
func (h *host) openAt(aid []byte, level byte) {
	h.t.Helper()
	if data, sw := h.raw(append([]byte{0, 0xA4, 4, 0, byte(len(aid))}, aid...)); !sw.OK() {
		h.t.Fatalf("SELECT %X: %X %v", aid, data, sw)
	}
	if _, sw := h.initUpdate(0); !sw.OK() {
		h.t.Fatalf("INITIALIZE UPDATE: %v", sw)
	}
	if _, sw := h.raw(h.authentication(level)); !sw.OK() {
		h.t.Fatalf("EXTERNAL AUTHENTICATE: %v", sw)
	}
}

// installDomain installs a security domain; the host's session is the issuer
// security domain's, or another's.
func (h *host) installDomain(aid []byte, privileges uint32) {
	h.t.Helper()
	h.must(apdu.SWSuccess, forInstall(installBoth, mustHex(SecurityDomainLoadFileAID), mustHex(SecurityDomainModuleAID), aid, privilegeBytes(privileges), unhex(h.t, "C900")))
}

func extradition(to, what []byte) apdu.Command {
	return cmd(insInstall, installExtradition, 0, lv(to, nil, what, nil, nil, nil)...)
}

func update(to, what, privileges, parameters []byte) apdu.Command {
	return cmd(insInstall, installRegistryUpdate, 0, lv(to, nil, what, privileges, parameters, nil)...)
}

func deletionOf(aid []byte) apdu.Command { return cmd(insDelete, 0, 0, tlv.Encode(0x4F, aid)...) }

func TestSecurityDomainLife(t *testing.T) {
	h, c := newHost(t, 16)
	h.open(0x33)
	before := contents(c.mem)
	isdKeys := h.keys
	h.must(apdu.SWSuccess, forInstall(installForInstall, mustHex(SecurityDomainLoadFileAID), mustHex(SecurityDomainModuleAID), domainAID, []byte{0x80}, unhex(t, "C900")))
	h.want(apdu.SWFileNotFound, "00A4040006F0CB00000D0100") // not selectable yet
	h.must(apdu.SWSuccess, cmd(insInstall, installMakeSelectable, 0, lv(nil, nil, domainAID, []byte{0x80}, nil, nil)...))
	if d := h.list(0x40)[aidKey(domainAID)]; fieldOf(d, 0x9F70) != "07" || fieldOf(d, 0xC5) != "800000" || fieldOf(d, 0xCC) != IssuerSecurityDomainAID {
		t.Errorf("%v", d)
	}
	fci := h.want(apdu.SWSuccess, "00A4040006F0CB00000D0100")
	if !bytes.Equal(fci, unhex(t, "6F0E8406F0CB00000D01A5049F6501FF")) {
		t.Errorf("FCI %X", fci)
	}
	h.want(apdu.SWSecurityStatusNotSatisfied, "80F28002024F0000")
	if got := h.want(apdu.SWSuccess, "80CA00E000"); !bytes.Equal(got, unhex(t, "E000")) {
		t.Errorf("keys %X", got)
	}
	// Its first keys come through a channel of its own under the keys of the
	// issuer security domain.
	h.openAt(domainAID, 0x33)
	own := testKeys(0x40, 32)
	own.ENC[0] ^= 0xFF
	h.must(apdu.SWReferencedDataNotFound, putKeys(0x30, own, isdKeys.DEK)) // it has none to replace
	h.must(apdu.SWSuccess, putKeys(0, own, isdKeys.DEK))
	h.must(apdu.SWSuccess, cmd(insStoreData, 0x90, 0, 0x42, 2, 0xD0, 0x01))
	if got := h.must(apdu.SWSuccess, apdu.Command{CLA: 0x80, INS: insGetData, P2: 0x42, Ne: 256}); !bytes.Equal(got, unhex(t, "4202D001")) {
		t.Errorf("%X", got)
	}
	h.card = on(t, c.mem, nil)
	h.want(apdu.SWSuccess, "00A4040006F0CB00000D0100")
	if got := h.want(apdu.SWSuccess, "80CA00E000"); !bytes.Equal(got, unhex(t, "E012C00401408820C00402408820C00403408820")) {
		t.Errorf("keys %X", got)
	}
	if _, sw := h.initUpdate(0x30); sw != apdu.SWReferencedDataNotFound {
		t.Errorf("the issuer's keys: %v", sw)
	}
	h.keys = own
	h.openAt(domainAID, 0x33)
	if d := h.list(0x40)[aidKey(domainAID)]; fieldOf(d, 0x9F70) != "0F" {
		t.Errorf("%v", d)
	}
	// It has no business with what is not its own.
	if got := h.list(0x40); len(got) != 1 {
		t.Errorf("%v", got)
	}
	if got := h.list(0x80); len(got) != 0 {
		t.Errorf("%v", got)
	}
	h.must(apdu.SWReferencedDataNotFound, deletionOfKeys(0x30))
	h.must(apdu.SWConditionsOfUseNotSatisfied, deletionOfKeys(0x40))
	for _, command := range []apdu.Command{
		forLoad(packageAID, nil, nil, nil, nil), deletionOf(domainAID), deletionOf(mustHex(LDSAID)), personalize(), extradition(domainAID, mustHex(LDSAID)),
		update(nil, mustHex(LDSAID), []byte{0}, nil), update(nil, nil, []byte{0x80, 0x40, 0}, nil),
		forInstall(installBoth, mustHex(LDSLoadFileAID), mustHex(LDSAID), appAID, []byte{0}, nil),
		cmd(insSetStatus, 0x40, 0x80, mustHex(LDSAID)...), cmd(insSetStatus, 0x80, byte(Initialized)), cmd(insSetStatus, 0x80, byte(Terminated)),
		cmd(insSetStatus, 0x40, 0x80, domainAID...), cmd(insSetStatus, 0x40, 0x0F, domainAID...),
	} {
		h.must(apdu.SWConditionsOfUseNotSatisfied, command)
	}
	// The issuer security domain still has its own.
	h.keys = isdKeys
	h.open(0x33)
	h.want(apdu.SWSecurityStatusNotSatisfied, "80CA004200")
	h.open(0x33)
	if got := h.must(apdu.SWSuccess, apdu.Command{CLA: 0x80, INS: insGetData, P2: 0x42, Ne: 256}); !bytes.Equal(got, tlv.Encode(0x42, DefaultIIN)) {
		t.Errorf("%X", got)
	}
	h.must(apdu.SWSuccess, deletionOf(domainAID))
	if !maps.Equal(contents(c.mem), before) {
		t.Error("the memory is not as it was")
	}
}

func deletionOfKeys(version byte) apdu.Command { return cmd(insDelete, 0, 0, 0xD2, 1, version) }

// TestWrongKeysOfADomainCount against that domain alone.
func TestWrongKeysOfADomainCount(t *testing.T) {
	h, c := newHost(t, 16)
	h.open(0x03)
	h.installDomain(domainAID, PrivilegeSecurityDomain)
	isdKeys := h.keys
	h.openAt(domainAID, 0x03)
	h.must(apdu.SWSuccess, putKeys(0, testKeys(0x30, 24), h.keys.DEK))
	h.keys = testKeys(0x30, 24)
	h.keys.MAC[1] ^= 1
	for range 10 {
		h.want(apdu.SWSuccess, "00A4040006F0CB00000D0100")
		h.initUpdate(0)
		if _, sw := h.raw(h.authentication(1)); sw != apdu.SWAuthenticationFailed {
			t.Fatal(sw)
		}
	}
	h.card = on(t, c.mem, nil)
	h.want(apdu.SWSuccess, "00A4040006F0CB00000D0100")
	if _, sw := h.initUpdate(0); sw != apdu.SWAuthenticationMethodBlocked {
		t.Fatal(sw)
	}
	h.keys = isdKeys
	h.open(0x03)
}

// TestExtradition: an application goes to a domain, is personalized through
// it, and holds the domain on the card.
func TestExtradition(t *testing.T) {
	h, c := newHost(t, 16)
	h.open(0x03)
	lds := mustHex(LDSAID)
	before := contents(c.mem)
	h.must(apdu.SWReferencedDataNotFound, extradition(domainAID, lds))
	h.installDomain(domainAID, PrivilegeSecurityDomain)
	h.loadAll(testCAP(10))
	h.must(apdu.SWReferencedDataNotFound, extradition(domainAID, appAID))
	h.must(apdu.SWReferencedDataNotFound, extradition(lds, packageAID)) // no domain
	h.must(apdu.SWConditionsOfUseNotSatisfied, extradition(domainAID, domainAID))
	h.must(apdu.SWConditionsOfUseNotSatisfied, extradition(domainAID, mustHex(SecurityDomainLoadFileAID)))
	h.must(apdu.SWWrongData, extradition(nil, lds))
	h.must(apdu.SWSuccess, extradition(domainAID, lds))
	h.must(apdu.SWSuccess, extradition(domainAID, packageAID))
	h.must(apdu.SWConditionsOfUseNotSatisfied, personalize()) // no longer this domain's
	for i := range 2 {
		if got := fieldOf(h.list(0x40)[LDSAID], 0xCC) + fieldOf(h.list(0x20)[aidKey(packageAID)], 0xCC); got != aidKey(domainAID)+aidKey(domainAID) {
			t.Errorf("associated with %s", got)
		}
		if i == 0 {
			h.card = on(t, c.mem, nil)
			h.open(0x03)
		}
	}
	h.must(apdu.SWConditionsOfUseNotSatisfied, deletionOf(domainAID))
	h.openAt(domainAID, 0x03)
	if got := h.list(0x40); len(got) != 2 {
		t.Errorf("%v", got)
	}
	h.must(apdu.SWSuccess, personalize())
	h.must(apdu.SWSuccess, cmd(insStoreData, 0x88, 0, 'x'))
	// Given back, and the domain goes.
	h.open(0x03)
	h.must(apdu.SWSuccess, extradition(mustHex(IssuerSecurityDomainAID), lds))
	h.must(apdu.SWConditionsOfUseNotSatisfied, deletionOf(domainAID)) // a load file is still there
	h.must(apdu.SWSuccess, deletionOf(packageAID))
	h.must(apdu.SWSuccess, deletionOf(domainAID))
	after := contents(c.mem)
	delete(after, appSpace+LDSAID+" stored")
	if !maps.Equal(after, before) {
		t.Error("the memory is not as it was")
	}
}

// TestHierarchy: a domain with Authorized Management manages what is below it,
// and nothing else.
func TestHierarchy(t *testing.T) {
	h, _ := newHost(t, 16)
	h.open(0x03)
	inner := mustHex("F0CB00000D02")
	h.installDomain(domainAID, PrivilegeSecurityDomain|PrivilegeAuthorizedManagement)
	h.openAt(domainAID, 0x03)
	h.installDomain(inner, PrivilegeSecurityDomain)
	h.loadAll(testCAP(10))
	h.must(apdu.SWSuccess, forInstall(installBoth, packageAID, moduleAID, appAID, []byte{0}, nil))
	h.must(apdu.SWSuccess, extradition(inner, appAID))
	h.must(apdu.SWConditionsOfUseNotSatisfied, extradition(inner, domainAID)) // itself, into its own hierarchy
	h.must(apdu.SWConditionsOfUseNotSatisfied, forLoad(moduleAID, mustHex(IssuerSecurityDomainAID), nil, nil, nil))
	h.must(apdu.SWConditionsOfUseNotSatisfied, deletionOf(mustHex(LDSAID)))
	h.must(apdu.SWConditionsOfUseNotSatisfied, deletionOf(inner))
	// The inner domain's channel is the outer one's as long as it has no keys.
	h.openAt(inner, 0x03)
	if got := h.list(0x40); len(got) != 2 || got[aidKey(appAID)] == nil || got[aidKey(inner)] == nil {
		t.Errorf("%v", got)
	}
	h.open(0x03)
	h.must(apdu.SWConditionsOfUseNotSatisfied, deletionOf(domainAID))
	h.must(apdu.SWSuccess, cmd(insSetStatus, 0x60, 0x80, domainAID...))
	for _, aid := range [][]byte{domainAID, inner, appAID} {
		if got := fieldOf(h.list(0x40)[aidKey(aid)], 0x9F70); got != "87" {
			t.Errorf("%X: state %s", aid, got)
		}
	}
	if got := fieldOf(h.list(0x40)[LDSAID], 0x9F70); got != "07" {
		t.Errorf("state %s", got)
	}
	h.want(apdu.SWFileNotFound, "00A4040006F0CB00000D0100")
	h.open(0x03)
	// A locked domain takes nothing in.
	h.must(apdu.SWConditionsOfUseNotSatisfied, extradition(domainAID, mustHex(LDSAID)))
	h.must(apdu.SWConditionsOfUseNotSatisfied, forLoad(moduleAID, domainAID, nil, nil, nil))
	h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insSetStatus, 0x60, 0x80, domainAID...))
	h.must(apdu.SWReferencedDataNotFound, cmd(insSetStatus, 0x60, 0x80, mustHex(LDSAID)...))
	h.must(apdu.SWReferencedDataNotFound, cmd(insSetStatus, 0x60, 0x80, mustHex(IssuerSecurityDomainAID)...))
	h.must(apdu.SWSuccess, cmd(insSetStatus, 0x60, 0x00, domainAID...))
	h.want(apdu.SWSuccess, "00A4040007F0CB000001010100")
}

// user is an applet that uses its domain's secure channel: INS 10 echoes, 12
// deciphers its data under the data encryption key.
type user struct{ probe }

func (u *user) Process(e Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	channel := e.(SecureChannel)
	if cmd.INS == insInitializeUpdate || cmd.INS == insExternalAuthenticate {
		return channel.ProcessSecurity(cmd)
	}
	return channel.Secured(cmd, func(cmd apdu.Command) ([]byte, apdu.StatusWord) {
		level, open := channel.SecurityLevel()
		switch {
		case cmd.INS == 0x12:
			plain, err := e.DecipherDEK(cmd.Data)
			if err != nil {
				return nil, apdu.SWReferencedDataNotUsable
			}
			return plain, apdu.SWSuccess
		case !open:
			return nil, apdu.SWSecurityStatusNotSatisfied
		}
		return append([]byte{level}, cmd.Data...), apdu.SWSuccess
	})
}

// TestApplicationChannel: an application opens a channel with the keys of the
// domain that it is associated with.
func TestApplicationChannel(t *testing.T) {
	keys := testKeys(0x30, 16)
	blank := testBlank(keys)
	c, err := New(Config{Blank: &blank, Applets: map[string]func() Applet{LDSAID: func() Applet { return &user{} }}})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, card: c, keys: keys, length: 8}
	lds := mustHex(LDSAID)
	for _, level := range []byte{0x01, 0x03, 0x11, 0x13, 0x33} {
		h.openAt(lds, level)
		if got := h.must(apdu.SWSuccess, cmd(0x10, 0, 0, 'a', 'b')); !bytes.Equal(got, []byte{level, 'a', 'b'}) {
			t.Errorf("%X", got)
		}
		secret := pad([]byte("secret"))
		if got := h.must(apdu.SWSuccess, cmd(0x12, 0, 0, mustAESKey(h.keys.DEK).encryptCBC([16]byte{}, secret)...)); !bytes.Equal(got, secret) {
			t.Errorf("%X", got)
		}
		wrong := h.wrap(cmd(0x10, 0, 0, 'a', 'b'))
		wrong[len(wrong)-2] ^= 1
		if _, sw := h.raw(wrong); sw != apdu.SWSecureMessagingIncorrect {
			t.Error(sw)
		}
		h.want(apdu.SWSecurityStatusNotSatisfied, "80100000016100")
		h.want(apdu.SWSecurityStatusNotSatisfied, "84100000016100")
		h.want(apdu.SWReferencedDataNotUsable, "8012000010"+"00000000000000000000000000000000"+"00")
	}
	// Another command between the two ends what was begun.
	h.want(apdu.SWSuccess, "00A4040007A000000247100100")
	h.initUpdate(0)
	authentication := h.authentication(1)
	h.want(apdu.SWSecurityStatusNotSatisfied, "80100000016100")
	if _, sw := h.raw(authentication); sw != apdu.SWConditionsOfUseNotSatisfied {
		t.Error(sw)
	}
	// With another domain it is another's keys, and none while that is locked.
	h.open(0x03)
	h.installDomain(domainAID, PrivilegeSecurityDomain)
	h.must(apdu.SWSuccess, extradition(domainAID, lds))
	h.openAt(domainAID, 0x03)
	own := testKeys(0x50, 24)
	h.must(apdu.SWSuccess, putKeys(0, own, h.keys.DEK))
	h.keys = own
	h.openAt(lds, 0x33)
	h.must(apdu.SWSuccess, cmd(0x10, 0, 0, 'a'))
	h.keys = keys
	h.open(0x03)
	h.must(apdu.SWSuccess, cmd(insSetStatus, 0x40, 0x80, domainAID...))
	h.want(apdu.SWSuccess, "00A4040007A000000247100100")
	if _, sw := h.initUpdate(0); sw != apdu.SWConditionsOfUseNotSatisfied {
		t.Error(sw)
	}
}

// TestHostOpensDomains: the host side opens channels with a domain and with an
// application through its domain; the challenge it checks is bound to their
// AIDs.
func TestHostOpensDomains(t *testing.T) {
	keys := testKeys(0x30, 16)
	blank := testBlank(keys)
	c, err := New(Config{Blank: &blank, Applets: map[string]func() Applet{LDSAID: func() Applet { return &user{} }}})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, card: c, keys: keys, length: 8}
	h.open(0x01)
	h.installDomain(domainAID, PrivilegeSecurityDomain)
	static, err := gp.NewSoftwareKeys(keys.ENC, keys.MAC, keys.DEK)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, aid := range [][]byte{domainAID, mustHex(LDSAID)} {
		if _, err := apdu.Must(ctx, c, gp.SelectCommand(aid)); err != nil {
			t.Fatal(err)
		}
		challenge := []byte("8 bytes.")
		data, err := apdu.Must(ctx, c, gp.InitializeUpdateCommand(0, challenge))
		if err != nil {
			t.Fatal(err)
		}
		iu, err := gp.ParseInitializeUpdate(data)
		if err != nil {
			t.Fatal(err)
		}
		channel, authenticate, err := gp.OpenSCP03(ctx, static, iu, challenge, aid, gp.LevelFull)
		if err != nil {
			t.Fatal(err)
		}
		defer channel.Close()
		if r, err := apdu.SendRaw(ctx, c, authenticate); err != nil || !r.SW.OK() {
			t.Fatal(r.SW, err)
		}
		send := gp.Secure(channel, c)
		if bytes.Equal(aid, domainAID) {
			entries, err := gp.GetStatus(ctx, send, gp.ListApplications)
			if err != nil || len(entries) != 1 || !bytes.Equal(entries[0].AID, domainAID) {
				t.Errorf("%+v %v", entries, err)
			}
		} else if r, err := send(ctx, cmd(0x10, 0, 0, 'a')); err != nil || !bytes.Equal(r.Data, []byte{0x33, 'a'}) {
			t.Errorf("%X %v %v", r.Data, r.SW, err)
		}
	}
}
