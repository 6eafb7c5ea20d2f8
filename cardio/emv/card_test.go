package emv_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // EMV's
	"crypto/rand"
	"encoding/hex"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/emv"
	"cardbureau/cardio/emv/oda"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/payment"
)

const pan = "5892100000000016"

var today = time.Date(2027, 3, 1, 10, 0, 0, 0, time.UTC)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// pair is an RSA key pair of any size and exponent.
type pair struct {
	oda.PublicKey
	p, q, d *big.Int
}

func newPair(bits int, e int64) pair {
	one := big.NewInt(1)
	for {
		p, err1 := rand.Prime(rand.Reader, bits/2)
		q, err2 := rand.Prime(rand.Reader, bits-bits/2)
		if err1 != nil || err2 != nil {
			panic("no primes")
		}
		n := new(big.Int).Mul(p, q)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		if d := new(big.Int).ModInverse(big.NewInt(e), phi); d != nil && n.BitLen() == bits {
			return pair{oda.PublicKey{Modulus: n.Bytes(), Exponent: big.NewInt(e).Bytes()}, p, q, d}
		}
	}
}

func (k pair) sign(_ context.Context, block []byte) ([]byte, error) {
	x := new(big.Int).SetBytes(block)
	return x.Exp(x, k.d, new(big.Int).SetBytes(k.Modulus)).FillBytes(make([]byte, len(block))), nil
}

// pairs are those of all test cards: of the sizes of the payment scheme.
var pairs = sync.OnceValue(func() [3]pair { return [3]pair{newPair(1984, 3), newPair(1976, 3), newPair(1408, 65537)} })

// Keys of the test's cards.
var (
	masterAC  = unhex("0123456789abcdeffedcba9876543210")
	masterSMI = unhex("1123456789abcdeffedcba9876543211")
	masterSMC = unhex("2123456789abcdeffedcba9876543212")
	aid       = unhex(payment.AID)
	pinBlock  = unhex("241234ffffffffff")
)

// facts say what a test card is; the zero value with defaults is the scheme's.
type facts struct {
	aip     byte
	aes     bool
	control byte // C3: 80 ARPC method 1, 40 scripts format 1
	cvm     string
	expiry  string
	upper   byte // offline transactions in a row
	iac     [3]string
	records map[uint16]func([]byte) []byte // changes after signing
	noPSE   bool
	tagList []byte
	certEnd string // of the issuer's certificate
	ecc     *eccFacts
}

func standard() facts {
	return facts{aip: 0x7D, cvm: "00000000 00000000 0201 4403 4103 0203", expiry: "311231", certEnd: "1240", control: 0x40,
		iac: [3]string{"FCF8FCF800", "0010000000", "FCF8FCF800"}, tagList: []byte{0x82}}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func obj(tag tlv.Tag, value string) []byte { return tlv.Encode(tag, unhex(value)) }

// groupings are a card's data groupings.
func (f facts) groupings(t testing.TB) map[uint16][]byte {
	t.Helper()
	k := pairs()
	ca, issuer, icc := k[0], k[1], k[2]
	signed := join(obj(0x5A, pan), obj(0x5F34, "01"), obj(0x5F24, f.expiry), obj(0x5F25, "261125"), obj(0x5F28, "0364"),
		obj(0x9F07, "FF00"), obj(0x8E, f.cvm), obj(0x9F0D, f.iac[0]), obj(0x9F0E, f.iac[1]), obj(0x9F0F, f.iac[2]), tlv.Encode(0x9F4A, f.tagList))
	aip := []byte{f.aip, 0}
	static := append(bytes.Clone(signed), aip...)
	ctx := context.Background()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	cert, rem, err := oda.IssuerCertificate{IIN: "589210", Expiry: f.certEnd, Serial: [3]byte{1}, Key: issuer.PublicKey}.Sign(ctx, ca.PublicKey, ca.sign)
	must(err)
	iccCert, iccRem, err := oda.ICCCertificate{PAN: pan, Expiry: "1231", Serial: [3]byte{2}, Key: icc.PublicKey, StaticData: static}.Sign(ctx, issuer.PublicKey, issuer.sign)
	must(err)
	ssad, err := oda.StaticData{DAC: [2]byte{0xDA, 0xC0}, Data: static}.Sign(ctx, issuer.PublicKey, issuer.sign)
	must(err)
	cdol := "9F0206 9F0306 9F1A02 9505 5F2A02 9A03 9C01 9F3704"
	record := func(parts ...[]byte) []byte { return tlv.Encode(0x70, parts...) }
	var remainder []byte
	if iccRem != nil {
		remainder = tlv.Encode(0x9F48, iccRem)
	}
	d := map[uint16][]byte{
		0x0101: record(obj(0x57, pan+"d31122011000000000"), tlv.Encode(0x5F20, []byte("RAZI/ABU BAKR"))),
		0x0201: record(signed),
		0x0202: record(obj(0x8C, cdol), obj(0x8D, "8A02"+cdol), obj(0x5F30, "0201"), obj(0x9F42, "0364"), obj(0x9F44, "00"), obj(0x9F08, "0001")),
		0x0301: record(obj(0x8F, "01"), tlv.Encode(0x9F32, issuer.Exponent), tlv.Encode(0x92, rem)),
		0x0302: record(tlv.Encode(0x90, cert)),
		0x0303: record(tlv.Encode(0x93, ssad)),
		0x0304: record(tlv.Encode(0x9F46, iccCert)),
		0x0305: record(tlv.Encode(0x9F47, icc.Exponent), remainder, obj(0x9F49, "9F3704")),
		0x9102: tlv.Encode(0xA5, tlv.Encode(0x50, []byte("BANK SEPAH")), obj(0x87, "01"), tlv.Encode(0x5F2D, []byte("faen"))),
		0x9104: join(tlv.Encode(0x82, aip), obj(0x94, "08010100 10010201 18010500")),
		0x3000: obj(0x9F36, "0000"),
		0x3001: join(obj(0x9F0D, f.iac[0]), obj(0x9F0E, f.iac[1]), obj(0x9F0F, f.iac[2]), obj(0x9F14, "00"), tlv.Encode(0x9F23, []byte{f.upper}), tlv.Encode(0xC3, []byte{f.control})),
		0x9010: {3, 3}, 0x8010: pinBlock,
		0x8000: join(masterAC, masterSMI, masterSMC),
	}
	cci := []byte{0xA5, 1}
	if f.aes {
		cci[0] = 0xA6
	}
	d[0x3001] = append(d[0x3001], tlv.Encode(0x9F10, cci)...)
	for _, key := range [][]byte{masterAC, masterSMI, masterSMC} {
		b := make([]byte, 16)
		if f.aes {
			b = bytes.Repeat([]byte{1}, 16)
		}
		block(f.aes, key).Encrypt(b, b)
		d[0x9000] = append(d[0x9000], b[:3]...)
	}
	half := len(icc.Modulus) / 2
	one := big.NewInt(1)
	for id, n := range map[uint16]*big.Int{0x8201: new(big.Int).ModInverse(icc.q, icc.p), 0x8204: icc.q, 0x8205: icc.p,
		0x8202: new(big.Int).Mod(icc.d, new(big.Int).Sub(icc.q, one)), 0x8203: new(big.Int).Mod(icc.d, new(big.Int).Sub(icc.p, one))} {
		d[id] = n.FillBytes(make([]byte, half))
	}
	if f.ecc != nil {
		f.ecc.replace(d, signed)
	}
	for id, change := range f.records {
		d[id] = change(d[id])
	}
	return d
}

func block(isAES bool, key []byte) cipher.Block {
	var c cipher.Block
	var err error
	if isAES {
		c, err = aes.NewCipher(key)
	} else {
		c, err = des.NewTripleDESCipher(append(bytes.Clone(key), key[:8]...))
	}
	if err != nil {
		panic(err)
	}
	return c
}

// writer personalizes an instance when it is first selected; the channel is other
// tests' matter.
type writer struct {
	*payment.Applet
	t testing.TB
	f facts
}

type plainEnv struct{ virtual.Env }

func (plainEnv) DecipherDEK(b []byte) ([]byte, error) { return b, nil }

func (w writer) Select(e virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if len(e.Memory().Keys("")) == 0 {
		entry := tlv.Encode(0x61, tlv.Encode(0x4F, aid), tlv.Encode(0x50, []byte("BANK SEPAH")), obj(0x87, "01"))
		var d map[uint16][]byte
		switch hex.EncodeToString(e.AID()) {
		case strings.ToLower(payment.AID):
			d = w.f.groupings(w.t)
		case strings.ToLower(payment.PSE):
			d = map[uint16][]byte{0x0101: tlv.Encode(0x70, entry), 0x9102: tlv.Encode(0xA5, obj(0x88, "01"), tlv.Encode(0x5F2D, []byte("faen")))}
		default:
			d = map[uint16][]byte{0x9102: tlv.Encode(0xA5, tlv.Encode(0xBF0C, entry))}
		}
		var ids []uint16
		for id := range d {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for _, id := range append(ids, 0x7FFF) {
			p1 := byte(0x80)
			if id>>8 >= 0x80 && id>>8 <= 0x82 {
				p1 = 0xE0
			}
			v := d[id]
			data := []byte{byte(id >> 8), byte(id), byte(len(v))}
			if len(v) > 254 {
				data = []byte{byte(id >> 8), byte(id), 0xFF, byte(len(v) >> 8), byte(len(v))}
			}
			if _, sw := w.StoreData(plainEnv{e}, p1, 0, append(data, v...)); !sw.OK() {
				w.t.Fatalf("data grouping %04X: %v", id, sw)
			}
		}
	}
	return w.Applet.Select(e, cmd)
}

// card is a software card of the facts, switched on.
func (f facts) card(t testing.TB) *virtual.Chip {
	t.Helper()
	key := bytes.Repeat([]byte{0x42}, 16)
	file, module := unhex(payment.PackageAID), unhex(payment.ModuleAID)
	blank := virtual.Blank{Serial: virtual.NewSerial(1, 1), Keys: virtual.Keys{Version: 0x30, ENC: key, MAC: key, DEK: key}, Protocol: 3, SCP: virtual.SCP03Full,
		LoadFiles: []virtual.LoadFile{{AID: file, Version: [2]byte{1, 0}, Modules: [][]byte{module}}}}
	for _, name := range []string{payment.AID, payment.PSE, payment.PPSE} {
		if f.noPSE && name == payment.PSE {
			continue
		}
		blank.Applications = append(blank.Applications, virtual.Installation{AID: unhex(name), Module: module, LoadFile: file})
	}
	chip, err := virtual.New(virtual.Config{Blank: &blank, Applets: map[string]func() virtual.Applet{
		payment.ModuleAID: func() virtual.Applet { return writer{payment.New(), t, f} },
	}})
	if err != nil {
		t.Fatal(err)
	}
	chip.Reset()
	return chip
}

// host is the issuer: it checks ARQCs and answers them.
type host struct {
	t       testing.TB
	f       facts
	csu     emv.CSU
	arc     string
	wrong   bool // answers with a wrong ARPC
	scripts func(r emv.Request) (before, after [][]byte)
	asked   int
	last    emv.Request
}

// session is the common session key (Book 2, A1.3.1).
func session(isAES bool, master, r []byte) []byte {
	c := block(isAES, master)
	if isAES {
		out := make([]byte, 16)
		copy(out, r)
		c.Encrypt(out, out)
		return out
	}
	out := append(bytes.Clone(r), r...)
	out[2], out[10] = 0xF0, 0x0F
	c.Encrypt(out[:8], out[:8])
	c.Encrypt(out[8:], out[8:])
	return out
}

// mac is ISO/IEC 9797-1 algorithm 3 with padding method 2, or the left half of a
// CMAC.
func mac(isAES bool, key, message []byte) []byte {
	if isAES {
		return cmac(key, message)[:8]
	}
	return macPadded(isAES, key, pad(message, 8))
}

// macPadded is the whole MAC of whole blocks (Book 2, 9.2.3).
func macPadded(isAES bool, key, m []byte) []byte {
	if isAES {
		return cmac(key, m)
	}
	c, _ := des.NewCipher(key[:8])      //nolint:gosec // EMV's
	last, _ := des.NewCipher(key[8:16]) //nolint:gosec // EMV's
	x := make([]byte, 8)
	for ; len(m) > 0; m = m[8:] {
		for i := range x {
			x[i] ^= m[i]
		}
		c.Encrypt(x, x)
	}
	last.Decrypt(x, x)
	c.Encrypt(x, x)
	return x
}

func pad(b []byte, n int) []byte {
	out := append(bytes.Clone(b), 0x80)
	for len(out)%n != 0 {
		out = append(out, 0)
	}
	return out
}

func cmac(key, message []byte) []byte {
	c := block(true, key)
	double := func(b []byte) []byte {
		out := new(big.Int).Lsh(new(big.Int).SetBytes(b), 1).FillBytes(make([]byte, 17))[1:]
		if b[0]&0x80 != 0 {
			out[15] ^= 0x87
		}
		return out
	}
	k1 := make([]byte, 16)
	c.Encrypt(k1, k1)
	k1 = double(k1)
	m := bytes.Clone(message)
	if len(m) == 0 || len(m)%16 != 0 {
		m, k1 = pad(m, 16), double(k1)
	}
	for i := range k1 {
		m[len(m)-16+i] ^= k1[i]
	}
	x := make([]byte, 16)
	for ; len(m) > 0; m = m[16:] {
		for i := range x {
			x[i] ^= m[i]
		}
		c.Encrypt(x, x)
	}
	return x
}

func (h *host) online(_ context.Context, r emv.Request) (emv.Response, error) {
	h.asked++
	h.last = r
	key := session(h.f.aes, masterAC, append(bytes.Clone(r.ATC), make([]byte, 6)...))
	if want := mac(h.f.aes, key, r.Input()); !bytes.Equal(want, r.ARQC) {
		h.t.Errorf("the ARQC is wrong")
	}
	if r.PAN != pan || r.Sequence != 1 {
		h.t.Errorf("the request is of another card")
	}
	out := emv.Response{ARC: h.arc}
	if h.f.control&0x80 != 0 {
		b := bytes.Clone(r.ARQC)
		b[0] ^= h.arc[0]
		b[1] ^= h.arc[1]
		block(false, key).Encrypt(b, b)
		out.IssuerAuthenticationData = append(b, h.arc...)
	} else {
		out.IssuerAuthenticationData = append(mac(h.f.aes, key, append(bytes.Clone(r.ARQC), h.csu[:]...))[:4], h.csu[:]...)
	}
	if h.wrong {
		out.IssuerAuthenticationData[0] ^= 1
	}
	if h.scripts != nil {
		out.Scripts71, out.Scripts72 = h.scripts(r)
	}
	return out, nil
}

// terminal is a terminal that can do everything, and knows the test's authority.
func terminal(h *host) *emv.Terminal {
	t := &emv.Terminal{Type: 0x22, Capabilities: [3]byte{0xE0, 0xF8, 0xC8}, Additional: [5]byte{0xF0, 0, 0xF0, 0xA0, 0x01}, Country: 364, Currency: 364,
		Applications: []emv.Settings{{Wanted: emv.Wanted{AID: aid[:5], Partial: true}, Version: 1, FloorLimit: 100000}},
		CAKeys: func(rid []byte, index byte) (oda.PublicKey, bool) {
			return pairs()[0].PublicKey, bytes.Equal(rid, aid[:5]) && index == 1
		},
		PIN: func(context.Context, emv.PINRequest) (*emv.PINBlock, error) {
			b := emv.PINBlock(pinBlock)
			return &b, nil
		},
		Now: func() time.Time { return today },
	}
	if h != nil {
		t.Online = h.online
	}
	return t
}
