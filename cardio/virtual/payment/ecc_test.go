package payment

import (
	"bytes"
	"crypto/rand"
	"errors"
	"maps"
	"math/big"
	"testing"

	"filippo.io/nistec"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/nvm"
)

// TestKnownFactors: RFC 6979, A.2.5 and A.2.7, message "sample".
func TestKnownFactors(t *testing.T) {
	for d, want := range map[string]string{
		"C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721":                                                                     "A6E3C57DD01ABE90086538398355DD4C3B17AA873382B0F24D6129493D8AAD60",
		"00FAD06DAA62BA3B25D2FB40133DA757205DE67F5BB0018FEE8C86E1B68C7E75CAA896EB32F1F47C70855836A6D16FCC1466F6D8FBEC67DB89EC0C08B0E996B83538": "01DAE2EA071F8110DC26882D4D5EAE0621A3256FC8847FB9022E2B7D28E6F10198B1574FDD03A9053C08A1854A168AA5A57470EC97DD5CE090124EF52A2F7ECBFFD3",
	} {
		k, ok := parseECC(unhex(t, d))
		if !ok {
			t.Fatal("a key was refused")
		}
		next := k.factors([]byte("sample"))
		if got := next(); got.Cmp(number16(want)) != 0 {
			t.Errorf("%X, want %s", got, want)
		}
		if next().Cmp(number16(want)) == 0 {
			t.Error("the next factor is the same")
		}
	}
}

// TestKnownSignatures: libecc's self tests of ECOSDSA, message "abc"; the one for
// P-256 is ISO/IEC 14888-3's.
func TestKnownSignatures(t *testing.T) {
	for _, v := range []struct{ d, k, signature string }{
		{"5202A3D8ACAF6909D12C9A774CD886F9FBA61137FFD3E8E76AED363FB47AC492",
			"DE7E0E5E663F24183414B7C72F24546B81E9E5F410BEBF26F3CA5FA82F5192C8",
			"D7FB8135D8EA45E8FB3C9059F146E2630EF4BD51C4006A92EDB4C8B0849963FB" + "B46D1525379E02E232D97928265B7254EA2ED97813454388C1A08F62DCCD70B3"},
		{"0108b94c219206b8d8921690a51576ae703d464b71bdf568f9f670929567858055b916dbce5db56a25b7913325f514f72a22be4efb4db79e2f01b571a93f217982c5",
			"01730300163079949bb6e3603c96f6f09023a6f748c5a6fc41ec39f524045959a8fe4cc19b01475aacc5f392ab50601f398bc3b8014a63911bce30e7cc0f3d823b05",
			"bd54e8d7271ccc1e0addc3338a99eb945e654018056faf7ec76c0aa6b4d2628900e05c052495a0917d808514d91e4142c5ae53062431e231058db5192e3590e3" +
				"00527bab84c9af15cfa7d92529dc15d21745ee048891f5e06a0665e5cb162e622a0a62c31223cc216d8ffec33acddde50d58efe387893a5cbce2ea076e3b7ce79500"},
	} {
		k, _ := parseECC(unhex(t, v.d))
		if got := k.signWith(number16(v.k), []byte("abc")); !bytes.Equal(got, unhex(t, v.signature)) {
			t.Errorf("%X", got)
		}
	}
}

// private makes a private key whose point has the smaller y, or the greater.
func private(t testing.TB, c curve, greater bool) []byte {
	t.Helper()
	for {
		d, err := rand.Int(rand.Reader, c.n)
		if err != nil {
			t.Fatal(err)
		}
		if _, y := c.multiple(d); (y.Lsh(y, 1).Cmp(c.p) > 0) == greater {
			return d.FillBytes(make([]byte, c.size))
		}
	}
}

// sampleECC is the data of an application with XDA alone.
func sampleECC(t testing.TB, d []byte) []grouping {
	t.Helper()
	list := sample(t, cciDES, 0)
	for _, id := range []uint16{0x8201, 0x8202, 0x8203, 0x8204} {
		list = with(list, id, nil)
	}
	list = with(list, 0x9104, unhex(t, "82029C00940C080101001001020118010200"))
	list = with(list, 0x0301, tlv.Encode(0x70, []byte{0x8F, 1, 0xE1}, tlv.Encode(0x90, make([]byte, 117))))
	list = with(list, 0x0302, tlv.Encode(0x70, tlv.Encode(0x9F46, make([]byte, 145))))
	for i := range list {
		if list[i].id == 0x8205 {
			list[i] = grouping{id: dgiECC, value: d, secret: true}
		}
	}
	return list
}

// verifies checks EC-SDSA with the point d·G (EMV 4.4 Book 2, A2.2.3).
func verifies(t testing.TB, d, message, signature []byte) bool {
	t.Helper()
	for _, c := range curves {
		if c.size != len(d) {
			continue
		}
		h := c.hash()
		r, s := signature[:h.Size()], signature[h.Size():]
		minus := new(big.Int).Mod(new(big.Int).SetBytes(r), c.n)
		minus.Sub(c.n, minus)
		m := minus.FillBytes(make([]byte, c.size))
		var x []byte
		if c.size == 32 {
			x = combined(t, nistec.NewP256Point, d, s, m)
		} else {
			x = combined(t, nistec.NewP521Point, d, s, m)
		}
		h.Write(x)
		h.Write(message)
		return bytes.Equal(h.Sum(nil), r)
	}
	return false
}

type nistPoint[P any] interface {
	Add(P, P) P
	ScalarMult(P, []byte) (P, error)
	ScalarBaseMult([]byte) (P, error)
	BytesX() ([]byte, error)
}

// combined is the x-coordinate of s·G + m·(d·G).
func combined[P nistPoint[P]](t testing.TB, fresh func() P, d, s, m []byte) []byte {
	t.Helper()
	public, err1 := fresh().ScalarBaseMult(d)
	left, err2 := fresh().ScalarBaseMult(s)
	right, err3 := fresh().ScalarMult(public, m)
	x, err4 := fresh().Add(left, right).BytesX()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	return x
}

// extended sends GENERATE AC for XDA and gives the cryptogram's type; the signature
// is checked over what was sent and the answer's data objects.
func extended(t testing.TB, c *terminal, d []byte, p1 byte, arc string, before []byte) byte {
	t.Helper()
	data := values(arc)
	answer := c.want(apdu.SWSuccess, 0x80, insGenerateAC, p1, 0, data)
	list, err := tlv.Parse(answer)
	if err != nil || len(list) != 1 || list[0].Tag != 0x77 {
		t.Fatalf("%X", answer)
	}
	objects, err := tlv.Parse(list[0].Value)
	if err != nil || len(objects) != 5 || objects[2].Tag != 0x9F26 || objects[4].Tag != 0x9F4B {
		t.Fatalf("%X", answer)
	}
	message := append(append([]byte{0x15}, before...), data...)
	for _, o := range objects[:4] {
		message = tlv.Append(message, o.Tag, o.Value)
	}
	signed := objects[4].Value
	if signed[0] != 0x15 || !verifies(t, d, message, signed[1:]) {
		t.Fatalf("signature %X", signed)
	}
	c.answer, c.sent = answer, append(c.sent, data)
	if len(c.sent) == 1 {
		c.arqc = objects[2].Value
	}
	return objects[0].Value[0]
}

// TestXDA: both GENERATE ACs are signed on both curves, an AAC too; there is
// neither CDA nor INTERNAL AUTHENTICATE.
func TestXDA(t *testing.T) {
	for _, curve := range curves {
		d := private(t, curve, false)
		r, _ := insert(t, issuedMemory(t, sampleECC(t, d)), nil)
		c := &terminal{reader: r}
		c.begin()
		c.want(apdu.SWInstructionNotSupported, 0, insInternalAuthenticate, 0, 0, number)
		c.want(apdu.SWConditionsOfUseNotSatisfied, 0x80, insGenerateAC, typeARQC|wantCDA, 0, values(""))
		c.want(apdu.SWIncorrectP1P2, 0x80, insGenerateAC, typeARQC|wantCDA|wantXDA, 0, values(""))
		for _, p1 := range []byte{0x20, 0x04, 0x02, 0x01} {
			c.want(apdu.SWIncorrectP1P2, 0x80, insGenerateAC, typeARQC|wantXDA|p1, 0, values(""))
		}
		if got := extended(t, c, d, typeARQC|wantXDA, "", nil); got != typeARQC {
			t.Errorf("%02X", got)
		}
		c.approve(0, 0x82, 0, 0)
		if got := extended(t, c, d, typeTC|wantXDA, "00", nil); got != typeTC {
			t.Errorf("%02X", got)
		}
		c.want(apdu.SWConditionsOfUseNotSatisfied, 0x80, insGenerateAC, typeAAC|wantXDA, 0, values("00"))
		c.begin()
		if got := extended(t, c, d, typeAAC|wantXDA, "", nil); got != typeAAC {
			t.Errorf("%02X", got)
		}
		c.begin()
		if answer := c.want(apdu.SWSuccess, 0x80, insGenerateAC, typeARQC, 0, values("")); bytes.Contains(answer, []byte{0x9F, 0x4B}) {
			t.Errorf("signed, and nobody asked: %X", answer)
		}
		c.begin()
		c.want(apdu.SWSuccess, 0, insGetChallenge, 0, 0, nil)
		c.want(apdu.SWReferencedDataNotUsable, 0, insVerify, 0, 0x88, make([]byte, 176)) // enciphered PINs are RSA's
	}
	rsa := newTerminal(t, cciDES, 0)
	rsa.begin()
	rsa.want(apdu.SWConditionsOfUseNotSatisfied, 0x80, insGenerateAC, typeARQC|wantXDA, 0, values(""))
}

// TestXDAOfPDOL: what the PDOL asked for is signed in the first cryptogram.
func TestXDAOfPDOL(t *testing.T) {
	d := private(t, curves[0], false)
	list := with(sampleECC(t, d), 0x9102, tlv.Encode(0xA5, unhex(t, "500A42414E4B205345504148"+"9F38039F3704")))
	r, _ := insert(t, issuedMemory(t, list), nil)
	c := &terminal{reader: r}
	c.choose(AID)
	c.want(apdu.SWSuccess, 0x80, insGetProcessingOptions, 0, 0, append([]byte{0x83, 4}, number...))
	extended(t, c, d, typeARQC|wantXDA, "", number)
	extended(t, c, d, typeAAC|wantXDA, "05", nil)
}

// TestECCRefusals: keys that cannot be, and what is not whole.
func TestECCRefusals(t *testing.T) {
	right := private(t, curves[0], false)
	one := func(c curve, n int64) []byte { return big.NewInt(n).FillBytes(make([]byte, c.size)) }
	less := func(c curve, n int64) []byte {
		return new(big.Int).Sub(c.n, big.NewInt(n)).FillBytes(make([]byte, c.size))
	}
	padded := append(append(make([]byte, 0, 48), private(t, curves[0], false)...), 0x80)
	list := sampleECC(t, right)
	cases := map[string]struct {
		list []grouping
		sw   apdu.StatusWord
	}{
		"padded":                  {sampleECC(t, append(padded, make([]byte, 15)...)), apdu.SWSuccess},
		"16 bytes":                {sampleECC(t, right[:16]), apdu.SWWrongData},
		"48 bytes, P-384's":       {sampleECC(t, bytes.Repeat([]byte{1}, 48)), apdu.SWWrongData},
		"65 bytes":                {sampleECC(t, bytes.Repeat([]byte{1}, 65)), apdu.SWWrongData},
		"the greater y":           {sampleECC(t, private(t, curves[0], true)), apdu.SWConditionsOfUseNotSatisfied},
		"the greater y of P-521":  {sampleECC(t, private(t, curves[1], true)), apdu.SWConditionsOfUseNotSatisfied},
		"in the clear":            {[]grouping{{id: dgiECC, value: right}}, apdu.SWSecurityStatusNotSatisfied},
		"reserved 8106":           {[]grouping{{id: 0x8106, value: right, secret: true}}, apdu.SWReferencedDataNotFound},
		"none":                    {with(list, dgiECC, nil), apdu.SWConditionsOfUseNotSatisfied},
		"no card's certificate":   {with(list, 0x0302, tlv.Encode(0x70, []byte{0x9F, 0x1F, 1, 0})), apdu.SWConditionsOfUseNotSatisfied},
		"no issuer's certificate": {with(list, 0x0301, tlv.Encode(0x70, []byte{0x8F, 1, 0xE1})), apdu.SWConditionsOfUseNotSatisfied},
		"no index":                {with(list, 0x0301, tlv.Encode(0x70, tlv.Encode(0x90, make([]byte, 117)))), apdu.SWConditionsOfUseNotSatisfied},
		"and SDA":                 {with(list, 0x9104, unhex(t, "8202DC00940C080101001001020118010200")), apdu.SWConditionsOfUseNotSatisfied},
		"and CDA":                 {with(list, 0x9104, unhex(t, "82029D00940C080101001001020118010200")), apdu.SWConditionsOfUseNotSatisfied},
	}
	for i, c := range curves {
		name := []string{" of P-256", " of P-521"}[i]
		for what, d := range map[string][]byte{"0": one(c, 0), "1": one(c, 1), "n": less(c, 0), "n-1": less(c, 1), "all ones": bytes.Repeat([]byte{0xFF}, c.size)} {
			cases[what+name] = struct {
				list []grouping
				sw   apdu.StatusWord
			}{sampleECC(t, d), apdu.SWWrongData}
		}
	}
	for name, c := range cases {
		b := blank(t, virtual.AES) // blocks of 16 bytes: P-521's key is padded
		r, _ := insert(t, nvm.InMemory(), &b)
		r.own(virtual.AES, AID)
		if sw, err := r.put(cut(c.list, r.s.encipher, 200)); err != nil || sw != c.sw {
			t.Errorf("%s: %v %v, want %v", name, sw, err, c.sw)
		}
	}
}

// TestECCKept: the key is the same through both protocols, and a power cut in a
// signed transaction leaves the card as before a command or as after it.
func TestECCKept(t *testing.T) {
	d := private(t, curves[1], false)
	var first map[string]string
	for _, typ := range []virtual.KeyType{virtual.TripleDES, virtual.AES} {
		mem := nvm.InMemory()
		b := blank(t, typ)
		r, _ := insert(t, mem, &b)
		r.own(typ, AID)
		if sw, err := r.put(cut(sampleECC(t, d), r.s.encipher, 100)); err != nil || !sw.OK() {
			t.Fatal(sw, err)
		}
		got := application(mem.Dump())
		if got["app:"+AID+"/dgi/8105"] != string(d) {
			t.Errorf("%v: another key", typ)
		}
		if first == nil {
			first = got
		}
		if !maps.Equal(first, got) {
			t.Errorf("%v: another card", typ)
		}
	}
	source := issuedMemory(t, sampleECC(t, d))
	for _, fault := range []virtual.Fault{virtual.TearBefore, virtual.TearAfter, virtual.Silence} {
		mem := nvm.InMemory()
		if err := virtual.Manufacture(mem, blank(t, virtual.TripleDES)); err != nil {
			t.Fatal(err)
		}
		copyApplication(source, mem)
		r, chip := insert(t, mem, nil)
		c := &terminal{reader: r}
		c.begin()
		before := application(mem.Dump())
		if !recoverTear(c, &virtual.Faulty{Chip: chip, At: 1, Fault: fault}, func() { extended(t, c, d, typeARQC|wantXDA, "", nil) }) {
			t.Fatal("it was not torn")
		}
		if after := application(mem.Dump()); maps.Equal(before, after) != (fault == virtual.TearBefore) {
			t.Errorf("fault %d: neither before nor after", fault)
		}
		again, _ := insert(t, mem, nil)
		c = &terminal{reader: again}
		c.begin()
		extended(t, c, d, typeARQC|wantXDA, "", nil)
	}
}
