package virtual

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/tlv"
)

// judged are the signatures that openssl made: testdata/content-openssl.bash.
func judged(t testing.TB) map[string][]byte {
	t.Helper()
	b, err := os.ReadFile("testdata/content.json")
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]string
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for k, v := range s {
		out[k] = unhex(t, v)
	}
	return out
}

// putSingle is PUT KEY of one key; components as they are, key check value
// after them.
func putSingle(old, version, id byte, components, kcv []byte) apdu.Command {
	data := append([]byte{version}, components...)
	return cmd(insPutKey, old, id, append(append(data, byte(len(kcv))), kcv...)...)
}

func rsaKey(modulus []byte) []byte {
	return append(tlv.Encode(0xA1, modulus), 0xA0, 3, 1, 0, 1)
}

func ecKey(point []byte) []byte { return append(tlv.Encode(0xB0, point), 0xF0, 1, 0) }

func (h *host) aesSingle(key []byte) []byte {
	return append([]byte{0x88, 17, 16}, mustAESKey(h.keys.DEK).encryptCBC([16]byte{}, key)...)
}

func (h *host) desSingle(key []byte) []byte {
	return append([]byte{0x80, 16}, mustAESKey(h.keys.DEK).encryptCBC([16]byte{}, key)...)
}

// delegatedHost is a card whose issuer security domain verifies tokens and
// gives receipts, with a domain that manages content by token; its session is
// the issuer security domain's.
func delegatedHost(t testing.TB) (*host, *Chip) {
	t.Helper()
	keys := testKeys(0x30, 16)
	blank := testBlank(keys)
	blank.ISDPrivileges = PrivilegeTokenVerification | PrivilegeReceiptGeneration
	c, err := New(Config{Blank: &blank, Applets: testModules()})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, card: c, keys: keys, length: 8}
	h.open(0x01)
	h.installDomain(domainAID, PrivilegeSecurityDomain|PrivilegeDelegated)
	h.must(apdu.SWSuccess, cmd(insStoreData, 0x90, 0, unhex(t, "4202112245023344")...))
	return h, c
}

// TestDelegatedManagement: tokens that openssl signed are taken, receipts are
// those that openssl makes.
func TestDelegatedManagement(t *testing.T) {
	v := judged(t)
	h, c := delegatedHost(t)
	if got := fieldOf(h.list(0x80)[IssuerSecurityDomainAID], 0xC5); got != "98FE80" {
		t.Errorf("privileges %s", got)
	}
	if got := h.must(apdu.SWSuccess, putSingle(0, 0x70, 1, rsaKey(v["modulus"]), nil)); !bytes.Equal(got, []byte{0x70}) {
		t.Errorf("%X", got)
	}
	want := append([]byte{0x71}, v["aes_kcv"]...)
	if got := h.must(apdu.SWSuccess, putSingle(0, 0x71, 1, h.aesSingle(v["aes"]), v["aes_kcv"])); !bytes.Equal(got, want) {
		t.Errorf("%X", got)
	}
	if got := h.must(apdu.SWSuccess, apdu.Command{CLA: 0x80, INS: insGetData, P2: 0xE0, Ne: 256}); !bytes.Contains(got, unhex(t, "C0060170A180A003C00401718810")) {
		t.Errorf("keys %X", got)
	}
	h.card = on(t, c.mem, nil)
	h.openAt(domainAID, 0x01)
	load := tlv.Encode(0xC4, testCAP(10))
	begin := func(token []byte) apdu.Command { return forLoad(packageAID, domainAID, v["sha1"], nil, token) }
	h.must(apdu.SWConditionsOfUseNotSatisfied, begin(nil))
	h.must(apdu.SWSecurityStatusNotSatisfied, begin(v["token_install"]))
	h.must(apdu.SWConditionsOfUseNotSatisfied, loads(load, 240)[0])
	receipt := func(name string, got []byte, counter uint16) {
		t.Helper()
		r, err := gp.ParseReceipt(got)
		if err != nil || r == nil || !bytes.Equal(r.Receipt, v[name]) || r.Counter != counter || !bytes.Equal(r.Domain, unhex(t, "11223344")) {
			t.Fatalf("%s: %X", name, got)
		}
	}
	h.must(apdu.SWSuccess, begin(v["token_load"]))
	receipt("receipt_load", h.must(apdu.SWSuccess, loads(load, 240)[0]), 1)
	with := func(p1 byte, token string, parts ...[]byte) apdu.Command {
		return cmd(insInstall, p1, 0, lv(append(parts, v[token])...)...)
	}
	install := func(token string) apdu.Command {
		return with(installBoth, token, packageAID, moduleAID, appAID, []byte{0}, []byte{0xC9, 0})
	}
	h.must(apdu.SWSecurityStatusNotSatisfied, install("token_load"))
	receipt("receipt_install", h.must(apdu.SWSuccess, install("token_install")), 2)
	receipt("receipt_update", h.must(apdu.SWSuccess, with(installRegistryUpdate, "token_update", nil, nil, appAID, []byte{0x10}, nil)), 3)
	deletion := func(token string) apdu.Command {
		return cmd(insDelete, 0, 0, append(tlv.Encode(0x4F, appAID), tlv.Encode(0x9E, v[token])...)...)
	}
	h.must(apdu.SWConditionsOfUseNotSatisfied, deletionOf(appAID))
	h.must(apdu.SWSecurityStatusNotSatisfied, deletion("token_load"))
	receipt("receipt_delete", h.must(apdu.SWSuccess, deletion("token_delete")), 4)
	// A receipt key of another kind, and the counter goes on after a reset.
	h.open(0x01)
	h.must(apdu.SWSuccess, putSingle(0x71, 0x71, 1, h.desSingle(v["des"]), v["des_kcv"]))
	h.card = on(t, c.mem, nil)
	h.openAt(domainAID, 0x01)
	receipt("receipt_extradite", h.must(apdu.SWSuccess, with(installExtradition, "token_extradite", mustHex(IssuerSecurityDomainAID), nil, packageAID, nil, nil)), 5)
}

func TestTokenRefusals(t *testing.T) {
	v := judged(t)
	begin := forLoad(packageAID, domainAID, v["sha1"], nil, v["token_load"])
	// Without Token Verification.
	h, _ := newHost(t, 16)
	h.open(0x01)
	h.installDomain(domainAID, PrivilegeSecurityDomain|PrivilegeDelegated)
	h.must(apdu.SWSuccess, putSingle(0, 0x70, 1, rsaKey(v["modulus"]), nil))
	h.must(apdu.SWConditionsOfUseNotSatisfied, begin)
	h.openAt(domainAID, 0x01)
	h.must(apdu.SWConditionsOfUseNotSatisfied, begin)
	// Without a key, without a hash, with another domain's token.
	h, _ = delegatedHost(t)
	h.must(apdu.SWConditionsOfUseNotSatisfied, begin)
	h.must(apdu.SWSuccess, putSingle(0, 0x70, 1, rsaKey(v["modulus"]), nil))
	h.openAt(domainAID, 0x01)
	h.must(apdu.SWSecurityStatusNotSatisfied, forLoad(packageAID, nil, v["sha1"], nil, v["token_load"]))
	h.must(apdu.SWSecurityStatusNotSatisfied, forLoad(packageAID, domainAID, v["sha1"], nil, v["token_load"][1:]))
	// The issuer security domain needs none, and verifies one that comes.
	h.open(0x01)
	h.must(apdu.SWSuccess, forLoad(packageAID, domainAID, v["sha1"], nil, nil))
	h.must(apdu.SWSuccess, begin)
	h.must(apdu.SWSecurityStatusNotSatisfied, forLoad(packageAID, domainAID, v["sha1"], nil, v["token_install"]))
	// A domain with neither privilege has no use for a token.
	h, _ = delegatedHost(t)
	h.must(apdu.SWSuccess, putSingle(0, 0x70, 1, rsaKey(v["modulus"]), nil))
	h.must(apdu.SWSuccess, update(nil, domainAID, []byte{0x80}, nil))
	h.openAt(domainAID, 0x01)
	h.must(apdu.SWConditionsOfUseNotSatisfied, begin)
}

// TestDAP: load files with signatures that openssl made.
func TestDAP(t *testing.T) {
	v := judged(t)
	for name, test := range map[string]struct {
		key       func(*host) []byte
		kcv       []byte
		hash, dap string
	}{
		"RSA-1024": {func(*host) []byte { return rsaKey(v["modulus"]) }, nil, "sha1", "dap_rsa"},
		"P-256":    {func(*host) []byte { return ecKey(v["point"]) }, nil, "sha256", "dap_ec"},
		"AES":      {func(h *host) []byte { return h.aesSingle(v["aes"]) }, v["aes_kcv"], "sha1", "dap_aes"},
		"3DES":     {func(h *host) []byte { return h.desSingle(v["des"]) }, v["des_kcv"], "sha256", "dap_des"},
	} {
		for _, mandated := range []bool{false, true} {
			h, _ := newHost(t, 16)
			h.open(0x01)
			privileges, target := PrivilegeSecurityDomain|PrivilegeDAP, domainAID
			if mandated {
				privileges, target = privileges|PrivilegeMandatedDAP, nil
			}
			h.installDomain(domainAID, privileges)
			file := func(daps ...[]byte) []apdu.Command {
				var out []byte
				for _, d := range daps {
					out = append(out, tlv.Encode(0xE2, tlv.Encode(0x4F, domainAID), tlv.Encode(0xC3, d))...)
				}
				return loads(append(out, tlv.Encode(0xC4, testCAP(10))...), 240)
			}
			ends := func(sw apdu.StatusWord, commands []apdu.Command) {
				t.Helper()
				h.must(apdu.SWSuccess, forLoad(packageAID, target, v[test.hash], nil, nil))
				for _, c := range commands[:len(commands)-1] {
					h.must(apdu.SWSuccess, c)
				}
				h.must(sw, commands[len(commands)-1])
			}
			h.must(apdu.SWWrongData, forLoad(packageAID, target, nil, nil, nil)) // what is signed?
			ends(apdu.SWConditionsOfUseNotSatisfied, file(v[test.dap]))          // there is no key yet
			h.openAt(domainAID, 0x01)
			h.must(apdu.SWSuccess, putSingle(0, 0x73, 1, test.key(h), test.kcv))
			h.open(0x01)
			wrong := bytes.Clone(v[test.dap])
			wrong[len(wrong)/2] ^= 1
			ends(apdu.SWSecurityStatusNotSatisfied, file(wrong))
			ends(apdu.SWSecurityStatusNotSatisfied, file(wrong[1:]))
			ends(apdu.SWConditionsOfUseNotSatisfied, file())
			ends(apdu.SWWrongData, file(v[test.dap], v[test.dap]))
			if t.Failed() {
				t.Fatal(name)
			}
			ends(apdu.SWSuccess, file(v[test.dap]))
			// Without either privilege nobody asks for a DAP block.
			if !mandated {
				h.must(apdu.SWSuccess, cmd(insDelete, 0, 0, tlv.Encode(0x4F, packageAID)...))
				h.must(apdu.SWSuccess, forLoad(packageAID, nil, nil, nil, nil))
				h.must(apdu.SWSuccess, file()[0])
			}
		}
	}
}

func TestSingleKeyRefusals(t *testing.T) {
	v := judged(t)
	h, c := newHost(t, 16)
	h.open(0x01)
	before := len(c.reg.singles)
	even, short := bytes.Clone(v["modulus"]), v["modulus"][:127]
	even[127] &^= 1
	off := bytes.Clone(v["point"])
	off[40] ^= 1
	for name, test := range map[string]struct {
		command apdu.Command
		sw      apdu.StatusWord
	}{
		"version 72":       {putSingle(0, 0x72, 1, rsaKey(v["modulus"]), nil), apdu.SWWrongData},
		"version 80":       {putSingle(0, 0x80, 1, rsaKey(v["modulus"]), nil), apdu.SWWrongData},
		"an even modulus":  {putSingle(0, 0x70, 1, rsaKey(even), nil), apdu.SWWrongData},
		"a short modulus":  {putSingle(0, 0x70, 1, rsaKey(short), nil), apdu.SWWrongData},
		"no exponent":      {putSingle(0, 0x70, 1, tlv.Encode(0xA1, v["modulus"]), nil), apdu.SWWrongData},
		"exponent 1":       {putSingle(0, 0x70, 1, append(tlv.Encode(0xA1, v["modulus"]), 0xA0, 1, 1), nil), apdu.SWWrongData},
		"a check value":    {putSingle(0, 0x70, 1, rsaKey(v["modulus"]), []byte{1, 2, 3}), apdu.SWWrongData},
		"off the curve":    {putSingle(0, 0x70, 1, ecKey(off), nil), apdu.SWWrongData},
		"another curve":    {putSingle(0, 0x70, 1, append(tlv.Encode(0xB0, v["point"]), 0xF0, 1, 3), nil), apdu.SWWrongData},
		"a secret token":   {putSingle(0, 0x70, 1, h.aesSingle(v["aes"]), v["aes_kcv"]), apdu.SWWrongData},
		"a public receipt": {putSingle(0, 0x71, 1, rsaKey(v["modulus"]), nil), apdu.SWWrongData},
		"AES check value":  {putSingle(0, 0x71, 1, h.aesSingle(v["aes"]), v["des_kcv"]), swInvalidKeyCheckValue},
		"DES check value":  {putSingle(0, 0x71, 1, h.desSingle(v["des"]), v["aes_kcv"]), swInvalidKeyCheckValue},
		"a private key":    {putSingle(0, 0x70, 1, tlv.Encode(0xA3, v["modulus"]), nil), swAlgorithmNotSupported},
		"nothing":          {cmd(insPutKey, 0, 1, 0x70), apdu.SWWrongData},
		"two keys":         {putSingle(0, 0x71, 1, slices.Concat(h.aesSingle(v["aes"]), []byte{3}, v["aes_kcv"], h.aesSingle(v["aes"])), v["aes_kcv"]), apdu.SWWrongData},
		"replaces nothing": {putSingle(0x70, 0x70, 1, rsaKey(v["modulus"]), nil), apdu.SWReferencedDataNotFound},
		"P1":               {putSingle(0x80, 0x70, 1, rsaKey(v["modulus"]), nil), apdu.SWIncorrectP1P2},
	} {
		if _, sw := h.send(test.command); sw != test.sw {
			t.Errorf("%s: %v, want %v", name, sw, test.sw)
		}
	}
	if len(c.reg.singles) != before {
		t.Error("a refused PUT KEY left a key")
	}
	h.must(apdu.SWSuccess, putSingle(0, 0x70, 1, rsaKey(v["modulus"]), nil))
	h.must(apdu.SWWrongData, putSingle(0, 0x70, 1, rsaKey(v["modulus"]), nil))
	h.must(apdu.SWWrongData, putKeys(0, testKeys(0x70, 16), h.keys.DEK))
	h.must(apdu.SWSuccess, putSingle(0x70, 0x70, 1, ecKey(v["point"]), nil))
	h.must(apdu.SWSuccess, putSingle(0, 0x73, 2, h.desSingle(v["des"]), v["des_kcv"]))
	h.must(apdu.SWReferencedDataNotFound, deletionOfKeys(0x71))
	h.must(apdu.SWWrongData, cmd(insDelete, 0, 0, 0xD2, 1, 0x70, 0xD0, 1, 1))
	h.must(apdu.SWSuccess, cmd(insDelete, 0, 0, 0xD0, 1, 1, 0xD2, 1, 0x70))
	h.must(apdu.SWSuccess, cmd(insDelete, 0, 0, 0xD0, 1, 2))
	if len(c.reg.singles) != before {
		t.Error("deleted keys stayed")
	}
}
