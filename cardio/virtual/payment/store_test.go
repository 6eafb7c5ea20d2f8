package payment

import (
	"bytes"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/nvm"
)

// issuedMemory is the memory of a card that was personalized through the
// application's own channel with SCP02.
func issuedMemory(t testing.TB, list []grouping) *nvm.Memory {
	t.Helper()
	mem := nvm.InMemory()
	b := blank(t, virtual.TripleDES)
	r, _ := insert(t, mem, &b)
	r.own(virtual.TripleDES, AID)
	if sw, err := r.put(cut(list, r.s.encipher, 200)); err != nil || !sw.OK() {
		t.Fatal(sw, err)
	}
	return mem
}

// TestPersonalizationWays: both ways and both protocols, with blocks of several
// sizes, end in the same card.
func TestPersonalizationWays(t *testing.T) {
	for _, typ := range []virtual.KeyType{virtual.TripleDES, virtual.AES} {
		var first map[string]string
		for _, size := range []int{7, 64, 239} {
			for name, open := range map[string]func(*reader, virtual.KeyType, string){"own": (*reader).own, "forwarded": (*reader).forwarded} {
				mem := nvm.InMemory()
				b := blank(t, typ)
				r, c := insert(t, mem, &b)
				list := sample(t, cciDES, 0)
				if size == 7 { // 256 blocks are the most: leave the long ones out
					list = with(list, 0x0302, tlv.Encode(0x70, []byte{0x93, 1, 0}))
				}
				open(r, typ, AID)
				if sw, err := r.put(cut(list, r.s.encipher, size)); err != nil || !sw.OK() {
					t.Fatal(typ, name, size, sw, err)
				}
				got := application(mem.Dump())
				if size != 7 {
					if first == nil {
						first = got
					}
					if !maps.Equal(first, got) {
						t.Errorf("%v %s %d: another card", typ, name, size)
					}
				}
				// Nothing comes after completion, in a channel or outside.
				open2 := func() { open(r, typ, AID) }
				c.Reset()
				open2()
				if sw, _ := r.try(insStoreData, p1Last, 0, frame(0x0101, tlv.Encode(0x70, []byte{0x57, 1, 1}))); sw != apdu.SWConditionsOfUseNotSatisfied {
					t.Errorf("late STORE DATA: %v", sw)
				}
				r.choose(AID)
				r.want(apdu.SWConditionsOfUseNotSatisfied, 0x80, insStoreData, p1Last, 0, []byte{1, 1, 0})
				r.want(apdu.SWSuccess, 0x80, insGetProcessingOptions, 0, 0, []byte{0x83, 0})
			}
		}
	}
}

// TestDirectories: PSE with its record, PPSE with its entries.
func TestDirectories(t *testing.T) {
	b := blank(t, virtual.TripleDES)
	r, chip := insert(t, nvm.InMemory(), &b)
	entry := tlv.Encode(0x61, tlv.Encode(0x4F, unhex(t, AID)), tlv.Encode(0x50, []byte("BANK SEPAH")), tlv.Encode(0x87, []byte{1}))
	for aid, list := range map[string][]grouping{
		PSE:  {{id: 0x0101, value: tlv.Encode(0x70, entry)}, {id: dgiFCI, value: tlv.Encode(0xA5, []byte{0x88, 1, 1})}, {id: dgiComplete}},
		PPSE: {{id: dgiFCI, value: tlv.Encode(0xA5, tlv.Encode(0xBF0C, entry))}, {id: dgiComplete}},
	} {
		r.own(virtual.TripleDES, aid)
		if sw, _ := r.put(cut([]grouping{{id: dgiComplete}}, nil, 200)); sw != apdu.SWConditionsOfUseNotSatisfied {
			t.Errorf("an empty directory was completed: %v", sw)
		}
		r.own(virtual.TripleDES, aid)
		if sw, err := r.put(cut(list, nil, 200)); err != nil || !sw.OK() {
			t.Fatal(sw, err)
		}
		fci := r.choose(aid)
		if name, _ := tlv.Path(fci, 0x6F, 0x84); string(name) != string(unhex(t, aid)) {
			t.Errorf("FCI %X", fci)
		}
		r.want(apdu.SWInstructionNotSupported, 0x80, insGetProcessingOptions, 0, 0, []byte{0x83, 0})
		r.want(apdu.SWInstructionNotSupported, 0x80, insGetData, 0x9F, 0x36, nil)
		for _, ins := range []byte{insGenerateAC, insGetChallenge, insInternalAuthenticate, insExternalAuthenticate, insVerify} {
			cla := byte(0)
			if ins == insGenerateAC {
				cla = 0x80
			}
			r.want(apdu.SWInstructionNotSupported, cla, ins, 0, 0x80, make([]byte, 8))
		}
	}
	chip.ResetContactless()
	r.want(apdu.SWFileNotFound, 0, 0xA4, 4, 0, unhex(t, PSE))
	if fci := r.choose(PPSE); !bytes.Contains(fci, entry) {
		t.Errorf("PPSE %X", fci)
	}
	chip.Reset()
	r.choose(PSE)
	if got := r.want(apdu.SWSuccess, 0, insReadRecord, 1, 1<<3|4, nil); string(got) != string(tlv.Encode(0x70, entry)) {
		t.Errorf("directory record %X", got)
	}
	r.want(apdu.SWRecordNotFound, 0, insReadRecord, 2, 1<<3|4, nil)
	r.want(apdu.SWFileNotFound, 0, insReadRecord, 1, 2<<3|4, nil)
}

func TestStoreRefusals(t *testing.T) {
	full := sample(t, cciDES, 0)
	wrong := func(b []byte, at int) []byte {
		out := append([]byte{}, b...)
		out[at] ^= 0x10
		return out
	}
	for name, c := range map[string]struct {
		list []grouping
		sw   apdu.StatusWord
	}{
		"reserved grouping":         {[]grouping{{id: 0x7F01, value: []byte{1}}}, apdu.SWReferencedDataNotFound},
		"reserved grouping 0000":    {[]grouping{{id: 0x0000, value: []byte{1}}}, apdu.SWReferencedDataNotFound},
		"reserved file 1F":          {[]grouping{{id: 0x1F01, value: []byte{1}}}, apdu.SWReferencedDataNotFound},
		"record 00":                 {[]grouping{{id: 0x0100, value: []byte{1}}}, apdu.SWReferencedDataNotFound},
		"secret in the clear":       {[]grouping{{id: dgiKeys, value: make([]byte, 48)}}, apdu.SWSecurityStatusNotSatisfied},
		"exponent in the clear":     {[]grouping{{id: dgiExponent, value: make([]byte, 176)}}, apdu.SWSecurityStatusNotSatisfied},
		"record without template":   {[]grouping{{id: 0x0101, value: []byte{0x57, 1, 1}}}, apdu.SWWrongData},
		"record too long":           {[]grouping{{id: 0x0101, value: tlv.Encode(0x70, tlv.Encode(0x90, make([]byte, 249)))}}, apdu.SWWrongData},
		"log format":                {with(full, 0x3000, unhex(t, "9F360200009F4F039A039C")), apdu.SWWrongData},
		"KCV of AC":                 {with(full, 0x9000, wrong(of(full, 0x9000), 0)), apdu.SWWrongData},
		"KCV of SMC":                {with(full, 0x9000, wrong(of(full, 0x9000), 8)), apdu.SWWrongData},
		"KCV of DN":                 {with(full, 0x9001, wrong(of(full, 0x9001), 2)), apdu.SWWrongData},
		"keys too short":            {with(full, 0x8000, make([]byte, 40)), apdu.SWWrongData},
		"PIN block of format 0":     {with(full, 0x8010, unhex(t, "041261AAAAEDCBA9")), apdu.SWWrongData},
		"tries beyond the limit":    {with(full, 0x9010, []byte{4, 3}), apdu.SWWrongData},
		"another prime":             {with(full, 0x8205, wrong(of(full, 0x8205), 40)), apdu.SWConditionsOfUseNotSatisfied},
		"another dP":                {with(full, 0x8203, wrong(of(full, 0x8203), 40)), apdu.SWConditionsOfUseNotSatisfied},
		"another dQ":                {with(full, 0x8202, wrong(of(full, 0x8202), 40)), apdu.SWConditionsOfUseNotSatisfied},
		"another qInv":              {with(full, 0x8201, wrong(of(full, 0x8201), 40)), apdu.SWConditionsOfUseNotSatisfied},
		"version 6 with 3DES KCVs":  {with(full, 0x3001, of(sample(t, cciAES, 0), 0x3001)), apdu.SWConditionsOfUseNotSatisfied},
		"AFL beyond the records":    {with(full, 0x9104, unhex(t, "82027D00940408010300")), apdu.SWConditionsOfUseNotSatisfied},
		"AFL with a file 00":        {with(full, 0x9104, unhex(t, "82027D00940400010100")), apdu.SWConditionsOfUseNotSatisfied},
		"something after 7FFF":      {append(append([]grouping{}, full...), grouping{id: 0x0101, value: of(full, 0x0101)}), apdu.SWConditionsOfUseNotSatisfied},
		"7FFF with content":         {with(full, dgiComplete, []byte{1}), apdu.SWWrongData},
		"PIN without tries":         {with(full, 0x9010, nil), apdu.SWConditionsOfUseNotSatisfied},
		"SDA without its signature": {with(full, 0x0302, tlv.Encode(0x70, []byte{0x9F, 0x1F, 1, 0})), apdu.SWConditionsOfUseNotSatisfied},
	} {
		mem := nvm.InMemory()
		b := blank(t, virtual.TripleDES)
		r, _ := insert(t, mem, &b)
		r.own(virtual.TripleDES, AID)
		if sw, err := r.put(cut(c.list, r.s.encipher, 200)); err != nil || sw != c.sw {
			t.Errorf("%s: %v %v, want %v", name, sw, err, c.sw)
		}
		kept := application(mem.Dump())
		if _, keys := kept["app:"+AID+"/dgi/8000"]; keys && (name == "KCV of AC" || name == "KCV of SMC") {
			t.Errorf("%s: the keys were kept", name)
		}
		r.choose(AID)
		r.want(apdu.SWConditionsOfUseNotSatisfied, 0x80, insGetProcessingOptions, 0, 0, []byte{0x83, 0})
		r.want(apdu.SWConditionsOfUseNotSatisfied, 0, insReadRecord, 1, 0x0C, nil)
		// The same card takes the right data afterwards.
		r.own(virtual.TripleDES, AID)
		if sw, err := r.put(cut(full, r.s.encipher, 200)); err != nil || !sw.OK() {
			t.Errorf("%s: then %v %v", name, sw, err)
		}
	}
	for _, id := range []uint16{0x0101, 0x0201, 0x0202, 0x0301, 0x0302, 0x9102, 0x9104, 0x3000, 0x3001, 0x8000, 0x9000, 0x8001, 0x9001, 0x8010, 0x8201, 0x8202, 0x8203, 0x8204, 0x8205} {
		b := blank(t, virtual.TripleDES)
		r, _ := insert(t, nvm.InMemory(), &b)
		r.own(virtual.TripleDES, AID)
		if sw, _ := r.put(cut(with(full, id, nil), r.s.encipher, 200)); sw != apdu.SWConditionsOfUseNotSatisfied {
			t.Errorf("completed without %04X: %v", id, sw)
		}
	}
}

// TestBlocksOutOfOrder: P1 and P2 of STORE DATA through the own channel.
func TestBlocksOutOfOrder(t *testing.T) {
	b := blank(t, virtual.TripleDES)
	r, _ := insert(t, nvm.InMemory(), &b)
	record := frame(0x0101, tlv.Encode(0x70, []byte{0x57, 1, 1}))
	for _, p1 := range []byte{0x20, 0x40, 0x01, 0x06, 0x10, 0x18} {
		r.own(virtual.TripleDES, AID)
		if sw, _ := r.try(insStoreData, p1, 0, record); sw != apdu.SWIncorrectP1P2 {
			t.Errorf("P1 %02X: %v", p1, sw)
		}
	}
	for _, numbers := range [][]byte{{1}, {0, 2}, {0, 1, 1}, {0, 1, 3}} {
		r.own(virtual.TripleDES, AID)
		for i, n := range numbers {
			want := apdu.SWSuccess
			if i == len(numbers)-1 {
				want = apdu.SWIncorrectP1P2
			}
			if sw, _ := r.try(insStoreData, 0, n, record); sw != want {
				t.Errorf("blocks %v: %v at %d", numbers, sw, i)
			}
		}
	}
	// A change of encipherment inside a grouping, and an end inside one.
	r.own(virtual.TripleDES, AID)
	_, _ = r.try(insStoreData, 0, 0, record[:4])
	if sw, _ := r.try(insStoreData, 0x60, 1, record[4:]); sw != apdu.SWIncorrectP1P2 {
		t.Error(sw)
	}
	r.own(virtual.TripleDES, AID)
	if sw, _ := r.try(insStoreData, p1Last, 0, record[:4]); sw != apdu.SWWrongData {
		t.Error(sw)
	}
	// Without a channel.
	r.choose(AID)
	r.want(apdu.SWSecurityStatusNotSatisfied, 0x80, insStoreData, 0, 0, record)
	r.want(apdu.SWConditionsOfUseNotSatisfied, 0x80, insGetData, 0x9F, 0x36, nil)
}

// TestTornPersonalization cuts the power around every APDU: the card takes the
// whole sequence again, and is then the same as one that was not disturbed.
func TestTornPersonalization(t *testing.T) {
	list := sample(t, cciDES, 0)
	want := application(issuedMemory(t, list).Dump())
	for at, more := 1, true; more; at++ {
		for _, fault := range []virtual.Fault{virtual.TearBefore, virtual.TearAfter, virtual.Silence} {
			mem := nvm.InMemory()
			b := blank(t, virtual.TripleDES)
			r, c := insert(t, mem, &b)
			r.own(virtual.TripleDES, AID)
			f := &virtual.Faulty{Chip: c, At: at, Fault: fault}
			r.card = f
			sw, err := r.put(cut(list, r.s.encipher, 239))
			if err == nil && sw.OK() {
				more = false
				break
			}
			r, _ = insert(t, mem, nil) // the power is back
			if got := application(mem.Dump()); maps.Equal(got, want) {
				continue // the last block was executed
			}
			r.choose(AID)
			r.want(apdu.SWConditionsOfUseNotSatisfied, 0x80, insGetProcessingOptions, 0, 0, []byte{0x83, 0})
			r.own(virtual.TripleDES, AID)
			if sw, err := r.put(cut(list, r.s.encipher, 239)); err != nil || !sw.OK() {
				t.Fatalf("APDU %d, fault %d: again: %v %v", at, fault, sw, err)
			}
			if !maps.Equal(application(mem.Dump()), want) {
				t.Errorf("APDU %d, fault %d: another card", at, fault)
			}
		}
	}
}

// TestExponentAndModulus: the private key in its other form.
func TestExponentAndModulus(t *testing.T) {
	list := sample(t, cciDES, 0)
	for id := uint16(0x8201); id <= 0x8205; id++ {
		list = with(list, id, nil)
	}
	k := iccKey()
	whole := append([]grouping{
		{id: dgiExponent, value: k.D.FillBytes(make([]byte, 176)), secret: true},
		{id: dgiModulus, value: k.N.FillBytes(make([]byte, 176)), secret: true},
	}, list...)
	r, _ := insert(t, issuedMemory(t, whole), nil)
	c := &terminal{reader: r}
	c.begin()
	if give, _ := c.generate(typeARQC|wantCDA, ""); give != typeARQC {
		t.Errorf("%02X", give)
	}
	whole[0].value = append([]byte{1}, whole[0].value[1:]...)
	b := blank(t, virtual.TripleDES)
	r, _ = insert(t, nvm.InMemory(), &b)
	r.own(virtual.TripleDES, AID)
	if sw, _ := r.put(cut(whole, r.s.encipher, 200)); sw != apdu.SWConditionsOfUseNotSatisfied {
		t.Errorf("another exponent: %v", sw)
	}
}

// TestContactlessData: both groupings or neither.
func TestContactlessData(t *testing.T) {
	full := sample(t, cciDES, 0)
	near := []grouping{{id: dgiFCINear, value: of(full, dgiFCI)}, {id: dgiOptionsNr, value: of(full, dgiOptions)}}
	for n, want := range []apdu.StatusWord{apdu.SWSuccess, apdu.SWConditionsOfUseNotSatisfied, apdu.SWSuccess} {
		b := blank(t, virtual.AES)
		r, _ := insert(t, nvm.InMemory(), &b)
		r.own(virtual.AES, AID)
		if sw, _ := r.put(cut(append(append([]grouping{}, near[:n]...), full...), r.s.encipher, 200)); sw != want {
			t.Errorf("%d groupings: %v", n, sw)
		}
	}
}

// TestFraming: whatever the groupings, the stream gives them back one by one.
func TestFraming(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type item struct {
			id    uint16
			value []byte
		}
		var want []item
		var stream []byte
		for range rapid.IntRange(0, 5).Draw(t, "groupings") {
			i := item{rapid.SampledFrom([]uint16{0x0101, 0x1EFE, 0x3001, 0x8205, 0x9104, 0x7FFF}).Draw(t, "id"), rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value")}
			want, stream = append(want, i), append(stream, frame(i.id, i.value)...)
		}
		for _, i := range want {
			if _, _, _, whole, sw := next(stream[:len(frame(i.id, i.value))-1]); whole || !sw.OK() {
				t.Fatal("a grouping that is cut off is whole")
			}
			id, value, rest, whole, sw := next(stream)
			if id != i.id || !bytes.Equal(value, i.value) || !whole || !sw.OK() {
				t.Fatalf("%04X of %d bytes", id, len(value))
			}
			stream = rest
		}
		if len(stream) != 0 {
			t.Fatal("something is left")
		}
	})
}
