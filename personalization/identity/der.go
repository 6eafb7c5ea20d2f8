package identity

import (
	"bytes"
	"encoding/asn1"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"cardbureau/cardio/tlv"
)

// DER by hand: the few universal types that the structures here need. BER-TLV
// with shortest definite lengths is DER for them.

func sequence(parts ...[]byte) []byte { return tlv.Encode(0x30, parts...) }

func set(parts ...[]byte) []byte { return tlv.Encode(0x31, parts...) }

func explicit(n byte, parts ...[]byte) []byte { return tlv.Encode(tlv.Tag(0xA0|n), parts...) }

func implicit(n byte, value []byte) []byte { return tlv.Encode(tlv.Tag(0x80|n), value) }

func octets(value []byte) []byte { return tlv.Encode(0x04, value) }

// bitString has no unused bits.
func bitString(value []byte) []byte { return tlv.Encode(0x03, []byte{0}, value) }

func printable(s string) []byte { return tlv.Encode(0x13, []byte(s)) }

func number(n int64) []byte { return bigNumber(big.NewInt(n)) }

func bigNumber(n *big.Int) []byte {
	var b cryptobyte.Builder
	b.AddASN1BigInt(n)
	return b.BytesOrPanic()
}

func oid(id asn1.ObjectIdentifier) []byte {
	var b cryptobyte.Builder
	b.AddASN1ObjectIdentifier(id)
	return b.BytesOrPanic()
}

// timeValue is UTCTime through 2049 and GeneralizedTime from 2050 on, in Zulu
// with seconds (RFC 5280, 4.1.2.5).
func timeValue(t time.Time) []byte {
	t = t.UTC().Truncate(time.Second)
	if y := t.Year(); y >= 1950 && y < 2050 {
		return tlv.Encode(tlv.Tag(cbasn1.UTCTime), []byte(t.Format("060102150405Z")))
	}
	return tlv.Encode(tlv.Tag(cbasn1.GeneralizedTime), generalized(t))
}

func generalized(t time.Time) []byte {
	return []byte(t.UTC().Truncate(time.Second).Format("20060102150405Z"))
}

// setOf is a SET OF, its elements in the ascending order of their encodings
// (X.690, 11.6).
func setOf(elements [][]byte) []byte {
	sorted := append([][]byte(nil), elements...)
	slices.SortFunc(sorted, bytes.Compare)
	return set(sorted...)
}
