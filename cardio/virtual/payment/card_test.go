package payment

import (
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"strings"
	"sync"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
)

// iccKey is an RSA key of 1,408 bits.
var iccKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 1408)
	if err != nil {
		panic(err)
	}
	return k
})

// grouping is one data grouping as the issuer prepares it.
type grouping struct {
	id     uint16
	value  []byte
	secret bool
}

// masters are AC, SMI, SMC of vectors/payment.json's second card and two more.
const masters = "df7a2c384fd32a1997e0b3ba525e15bc" + "67f8292358083e5ea7ab7fda58d53b6b" + "985ec4fd3edf6162e31af1c7d0543416"

const (
	cdol1 = "9F02069F03069F1A0295055F2A029A039C019F3704"
	cdol2 = "8A02" + cdol1
)

// sample is the data of an application; change edits it.
func sample(t testing.TB, cci byte, control byte) []grouping {
	t.Helper()
	k := iccKey()
	crt := func(x *big.Int) []byte { return x.FillBytes(make([]byte, 88)) }
	keys := unhex(t, masters)
	kcv := kcvsDES
	if cci == cciAES {
		kcv = kcvsAES
	}
	hex := func(s string) []byte { return unhex(t, strings.ReplaceAll(s, " ", "")) }
	certificate := make([]byte, 240)
	return []grouping{
		{id: 0x0101, value: tlv.Encode(0x70, hex("57 08 5892100000000016"))},
		{id: 0x0201, value: tlv.Encode(0x70, hex("5A 08 5892100000000016 5F24 03 311231 5F34 01 01 9F4A 01 82"))},
		{id: 0x0202, value: tlv.Encode(0x70, tlv.Encode(0x8C, hex(cdol1)), tlv.Encode(0x8D, hex(cdol2)))},
		{id: 0x0301, value: tlv.Encode(0x70, tlv.Encode(0x9F46, certificate[:176]), hex("9F47 03 010001 9F49 03 9F3704"))},
		{id: 0x0302, value: tlv.Encode(0x70, tlv.Encode(0x93, certificate))},
		{id: 0x9102, value: tlv.Encode(0xA5, hex("50 0A 42414E4B205345504148 87 01 01"))},
		{id: 0x9104, value: hex("82 02 7D00 94 0C 08010100 10010201 18010200")},
		{id: 0x3000, value: hex("9F36 02 0000")},
		{id: 0x3001, value: append(hex("9F0D 05 F040FC8000 9F0E 05 0010000000 9F0F 05 F040FC9800 9F14 01 01 9F23 01 02"),
			append(tlv.Encode(0x9F10, []byte{cci, 1}), tlv.Encode(0xC3, []byte{control})...)...)},
		{id: 0x8000, value: keys, secret: true},
		{id: 0x9000, value: kcv(keys)},
		{id: 0x8001, value: keys[:16], secret: true},
		{id: 0x9001, value: kcv(keys[:16])},
		{id: 0x8010, value: hex("241234FFFFFFFFFF"), secret: true},
		{id: 0x9010, value: []byte{3, 3}},
		{id: 0x8201, value: crt(k.Precomputed.Qinv), secret: true},
		{id: 0x8202, value: crt(k.Precomputed.Dq), secret: true},
		{id: 0x8203, value: crt(k.Precomputed.Dp), secret: true},
		{id: 0x8204, value: crt(k.Primes[1]), secret: true},
		{id: 0x8205, value: crt(k.Primes[0]), secret: true},
		{id: dgiComplete},
	}
}

// with replaces the value of a grouping; nil leaves it out.
func with(list []grouping, id uint16, value []byte) (out []grouping) {
	for _, g := range list {
		if g.id == id {
			if value == nil {
				continue
			}
			g.value = value
		}
		out = append(out, g)
	}
	return out
}

func of(list []grouping, id uint16) []byte {
	for _, g := range list {
		if g.id == id {
			return g.value
		}
	}
	return nil
}

// block is one STORE DATA.
type block struct {
	p1   byte
	data []byte
}

func frame(id uint16, value []byte) []byte {
	b := []byte{byte(id >> 8), byte(id)}
	if len(value) < 0xFF {
		b = append(b, byte(len(value)))
	} else {
		b = append(b, 0xFF, byte(len(value)>>8), byte(len(value)))
	}
	return append(b, value...)
}

// cut lays groupings out in blocks of at most size bytes: as many as fit into one,
// as long as they are all secret or none.
func cut(list []grouping, encipher func([]byte) []byte, size int) (out []block) {
	for i := 0; i < len(list); {
		secret, stream := list[i].secret, []byte{}
		for ; i < len(list) && list[i].secret == secret; i++ {
			v := list[i].value
			if secret {
				v = encipher(v)
			}
			stream = append(stream, frame(list[i].id, v)...)
		}
		p1 := byte(0)
		if secret {
			p1 = p1Enciphered
		}
		for len(stream) > 0 {
			n := min(size, len(stream))
			out = append(out, block{p1, stream[:n]})
			stream = stream[n:]
		}
	}
	out[len(out)-1].p1 |= p1Last
	return out
}

// put sends blocks and gives the first status word that is not 9000.
func (r *reader) put(blocks []block) (apdu.StatusWord, error) {
	for i, b := range blocks {
		if sw, err := r.try(insStoreData, b.p1, byte(i), b.data); err != nil || !sw.OK() {
			return sw, err
		}
	}
	return apdu.SWSuccess, nil
}

// personalizeOwn opens the application's own channel.
func (r *reader) own(typ virtual.KeyType, aid string) {
	r.Helper()
	r.choose(aid)
	r.open(devKeys(typ, 0x31, 0x60))
}

// forwarded opens one with the security domain, and INSTALL [for personalization].
func (r *reader) forwarded(typ virtual.KeyType, aid string) {
	r.Helper()
	r.want(apdu.SWSuccess, 0, 0xA4, 4, 0, bankDomain)
	r.open(devKeys(typ, 0x31, 0x60))
	name := unhex(r, aid)
	data := append([]byte{0, 0, byte(len(name))}, name...)
	if sw, err := r.try(0xE6, 0x20, 0, append(data, 0, 0, 0)); err != nil || !sw.OK() {
		r.Fatal("INSTALL:", sw, err)
	}
}

// issued is a personalized card.
func issued(t testing.TB, cci, control byte) (*reader, *virtual.Chip) {
	t.Helper()
	mem := issuedMemory(t, sample(t, cci, control))
	return insert(t, mem, nil)
}

// application of a memory's dump: what the application itself keeps.
func application(dump map[string][]byte) map[string]string {
	out := map[string]string{}
	for k, v := range dump {
		if strings.HasPrefix(k, "app:"+AID+"/") {
			out[k] = string(v)
		}
	}
	return out
}
