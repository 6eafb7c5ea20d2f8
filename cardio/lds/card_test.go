package lds_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1"
	"encoding/asn1"
	"encoding/binary"
	"math/bits"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds"
	"cardbureau/cardio/lds/ec"
	"cardbureau/cardio/lds/sod"
	"cardbureau/cardio/lds/sod/sodtest"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/mrtd"
)

// The holder of the test's document.
const (
	number, birth, expiry = "H4V7K2W9X", "910231", "310415"
	can                   = "271828"
	pin, puk              = "482913", "87654321"
	fileServices          = 0x0201
)

func digit(s string) string {
	sum := 0
	for i := range len(s) {
		v := 0
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			v = int(c - '0')
		case c >= 'A' && c <= 'Z':
			v = int(c-'A') + 10
		}
		sum += v * [3]int{7, 3, 1}[i%3]
	}
	return string(rune('0' + sum%10))
}

func td1() string {
	l1 := "IRUTO" + number + digit(number) + "<<<<<<<<<<<<<<<"
	l2 := birth + digit(birth) + "F" + expiry + digit(expiry) + "AFG" + "<<<<<<<<<<<"
	return l1 + l2 + digit(l1[5:]+l2[:7]+l2[8:15]+l2[18:29]) + "ALRAZY<<ABW<BKR<<<<<<<<<<<<<<<"
}

// document is everything that is written to a card.
type document struct {
	files   map[uint16][]byte
	secrets map[uint16][]byte
	trust   *sod.Trust
}

// newDocument makes a document whose portrait has a number of bytes; OpenSSL
// signs it.
func newDocument(t testing.TB, portrait int) document {
	t.Helper()
	return newDocumentWith(t, portrait, lds.AES128)
}

// newDocumentWith also says the cipher of chip authentication.
func newDocumentWith(t testing.TB, portrait int, chip lds.Cipher) document {
	t.Helper()
	issuer := sodtest.New(t)
	csca, err := sod.ParseCertificates(issuer.CSCA("secp384r1"))
	if err != nil {
		t.Fatal(err)
	}
	issuer.Signer("prime256v1", sodtest.SignerExtensions)
	trust, err := sod.NewTrust(csca...)
	if err != nil {
		t.Fatal(err)
	}
	curve := ec.P256()
	private, err := curve.NewScalar(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := curve.BaseMult(private)
	if err != nil {
		t.Fatal(err)
	}
	pace := info(t, asn1.ObjectIdentifier{0, 4, 0, 127, 0, 7, 2, 2, 4, 2, 2}, 2, 12)
	groups := map[int][]byte{
		1:  tlv.Encode(0x61, tlv.Encode(0x5F1F, []byte(td1()))),
		2:  dg2(t, portrait),
		11: tlv.Encode(0x6B, tlv.Encode(0x5C, []byte{0x5F, 0x0E}), tlv.Encode(0x5F0E, []byte("رازی<<ابو<بکر"))),
		14: tlv.Encode(0x6E, tlv.Encode(0x31, info(t, asn1.ObjectIdentifier{0, 4, 0, 127, 0, 7, 2, 2, 3, 2, int(chip)}, 1),
			chipKeyInfo(t, public), pace)),
	}
	d := document{trust: trust, files: map[uint16][]byte{
		0x011C: tlv.Encode(0x31, pace),
		0x011E: tlv.Encode(0x60, tlv.Encode(0x5F01, []byte("0108")), tlv.Encode(0x5F36, []byte("040000")),
			tlv.Encode(0x5C, []byte{0x61, 0x75, 0x6B, 0x6E})),
		0x011D:       issuer.SOD(groups, "-md", "sha256"),
		fileServices: tlv.Encode(0x30, tlv.Encode(0x04, make([]byte, 64))),
	}}
	for n, g := range groups {
		d.files[0x0100+uint16(n)] = g
	}
	information := number + digit(number) + birth + digit(birth) + expiry + digit(expiry)
	seed := sha1.Sum([]byte(information))
	d.secrets = map[uint16][]byte{
		0x8001: append(bacKey(seed[:16], 1), bacKey(seed[:16], 2)...),
		0x8002: seed[:],
		0x8003: []byte(can),
		0x8004: private,
		0x8005: append([]byte{3}, pin...),
		0x8006: append([]byte{5}, puk...),
		0x8007: bytes.Repeat([]byte{7}, 32),
		0x8008: bytes.Repeat([]byte{8}, 32),
	}
	return d
}

func bacKey(seed []byte, counter byte) []byte {
	h := sha1.Sum(append(bytes.Clone(seed), 0, 0, 0, counter))
	for i, b := range h {
		if bits.OnesCount8(b)%2 == 0 {
			h[i] ^= 1
		}
	}
	return h[:16]
}

func der(t testing.TB, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func info(t testing.TB, oid asn1.ObjectIdentifier, values ...int) []byte {
	parts := [][]byte{der(t, oid)}
	for _, v := range values {
		parts = append(parts, der(t, v))
	}
	return tlv.Encode(0x30, parts...)
}

func chipKeyInfo(t testing.TB, public []byte) []byte {
	algorithm := tlv.Encode(0x30, der(t, asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}), der(t, asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}))
	spki := tlv.Encode(0x30, algorithm, der(t, asn1.BitString{Bytes: public, BitLength: 8 * len(public)}))
	return tlv.Encode(0x30, der(t, asn1.ObjectIdentifier{0, 4, 0, 127, 0, 7, 2, 2, 1, 2}), spki)
}

func dg2(t testing.TB, size int) []byte {
	t.Helper()
	image := make([]byte, size)
	if _, err := rand.Read(image); err != nil {
		t.Fatal(err)
	}
	record := []byte("FAC\x00010\x00")
	record = binary.BigEndian.AppendUint32(record, uint32(46+size))
	record = append(record, 0, 1)
	record = binary.BigEndian.AppendUint32(record, uint32(32+size))
	record = append(record, make([]byte, 16)...)
	record = append(record, 1, 0, 1, 0x9D, 2, 0x13, 1, 0, 0, 0, 0, 0)
	return tlv.Encode(0x75, tlv.Encode(0x7F61, tlv.Encode(0x02, []byte{1}),
		tlv.Encode(0x7F60, tlv.Encode(0xA1, tlv.Encode(0x81, []byte{2})), tlv.Encode(0x5F2E, record, image))))
}

var dek = []byte("0123456789abcdef")

// writer personalizes the application when it is first selected, in place of
// the security domain and its channel, which other tests cover.
type writer struct {
	*mrtd.Applet
	t testing.TB
	d document
	// keep leaves the application open for personalization.
	keep bool
}

type dekEnv struct{ virtual.Env }

func (dekEnv) DecipherDEK(data []byte) ([]byte, error) {
	block, err := aes.NewCipher(dek)
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, make([]byte, 16)).CryptBlocks(out, data)
	return out, nil
}

func (w writer) Select(e virtual.Env, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if len(e.Memory().Keys("")) == 0 {
		for id, value := range w.d.files {
			w.store(e, 0x88, id, value)
		}
		for id, value := range w.d.secrets {
			padded := append(bytes.Clone(value), 0x80)
			for len(padded)%16 != 0 {
				padded = append(padded, 0)
			}
			block, _ := aes.NewCipher(dek)
			cipher.NewCBCEncrypter(block, make([]byte, 16)).CryptBlocks(padded, padded)
			w.store(e, 0xE8, id, padded)
		}
		if !w.keep {
			w.store(e, 0x88, 0x7FFF, nil)
		}
	}
	return w.Applet.Select(e, cmd)
}

func (w writer) store(e virtual.Env, p1 byte, id uint16, value []byte) {
	data := []byte{byte(id >> 8), byte(id), byte(len(value))}
	if len(value) > 254 {
		data = append(data[:2], 0xFF, byte(len(value)>>8), byte(len(value)))
	}
	if _, sw := w.StoreData(dekEnv{e}, p1, 0, append(data, value...)); !sw.OK() {
		w.t.Fatalf("data grouping %04X: %v", id, sw)
	}
}

// card is a software card with the document in it.
func (d document) card(t testing.TB, keep bool) *virtual.Chip {
	t.Helper()
	key := bytes.Repeat([]byte{0x42}, 16)
	blank := virtual.LDSBlank(virtual.NewSerial(1, 1), virtual.Keys{Version: 0x30, ENC: key, MAC: key, DEK: key})
	chip, err := virtual.New(virtual.Config{Blank: &blank, Applets: map[string]func() virtual.Applet{
		virtual.LDSAID: func() virtual.Applet { return writer{mrtd.New(), t, d, keep} },
	}})
	if err != nil {
		t.Fatal(err)
	}
	chip.Reset()
	return chip
}

// counter counts what passes to a card and can answer in its place.
type counter struct {
	apdu.Card
	n       int
	between func(n int, command []byte) []byte // nil: the card answers
}

func (c *counter) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	c.n++
	if c.between != nil {
		if answer := c.between(c.n, command); answer != nil {
			return answer, nil
		}
	}
	return c.Card.Transmit(ctx, command)
}
