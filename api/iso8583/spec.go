package iso8583

import (
	lib "github.com/moov-io/iso8583"
	"github.com/moov-io/iso8583/encoding"
	"github.com/moov-io/iso8583/field"
	"github.com/moov-io/iso8583/prefix"
)

// Data elements that the adapter reads or writes (ISO 8583:1987, section 4.4).
const (
	fieldPAN      = 2
	fieldSTAN     = 11
	fieldSequence = 23
	fieldCode     = 39
	fieldICC      = 55
	fieldNetwork  = 70
)

// echoed are the elements of a request that its answer repeats. The PAN is not
// among them: no answer holds one.
var echoed = []int{3, 4, 7, 11, 12, 13, 32, 37, 41, 42, 49, fieldNetwork}

// spec is the message format: MTI and texts in ASCII, binary bitmaps, lengths in
// ASCII digits, element 55 binary.
var spec = &lib.MessageSpec{
	Name: "ISO 8583:1987, ASCII with binary bitmaps",
	Fields: map[int]field.Field{
		0: fixed(4), 1: field.NewBitmap(&field.Spec{Description: "bitmap", Length: 8, Enc: encoding.Binary, Pref: prefix.Binary.Fixed}),
		fieldPAN: variable(19, prefix.ASCII.LL),
		3:        fixed(6), 4: fixed(12), 5: fixed(12), 6: fixed(12), 7: fixed(10), 8: fixed(8), 9: fixed(8), 10: fixed(8),
		fieldSTAN: fixed(6),
		12:        fixed(6), 13: fixed(4), 14: fixed(4), 15: fixed(4), 16: fixed(4), 17: fixed(4), 18: fixed(4), 19: fixed(3), 20: fixed(3), 21: fixed(3), 22: fixed(3),
		fieldSequence: fixed(3),
		24:            fixed(3), 25: fixed(2), 26: fixed(2), 27: fixed(1), 28: fixed(9), 29: fixed(9), 30: fixed(9), 31: fixed(9),
		32: variable(11, prefix.ASCII.LL), 33: variable(11, prefix.ASCII.LL), 34: variable(28, prefix.ASCII.LL),
		35: variable(37, prefix.ASCII.LL), 36: variable(104, prefix.ASCII.LLL),
		37: fixed(12), 38: fixed(6), fieldCode: fixed(2), 40: fixed(3), 41: fixed(8), 42: fixed(15), 43: fixed(40),
		44: variable(25, prefix.ASCII.LL), 45: variable(76, prefix.ASCII.LL),
		46: variable(999, prefix.ASCII.LLL), 47: variable(999, prefix.ASCII.LLL), 48: variable(999, prefix.ASCII.LLL),
		49: fixed(3), 50: fixed(3), 51: fixed(3),
		52:       field.NewBinary(&field.Spec{Length: 8, Enc: encoding.Binary, Pref: prefix.Binary.Fixed}),
		53:       fixed(16),
		54:       variable(120, prefix.ASCII.LLL),
		fieldICC: field.NewBinary(&field.Spec{Length: 255, Enc: encoding.Binary, Pref: prefix.ASCII.LLL}),
		56:       variable(999, prefix.ASCII.LLL), 57: variable(999, prefix.ASCII.LLL), 58: variable(999, prefix.ASCII.LLL), 59: variable(999, prefix.ASCII.LLL),
		60: variable(999, prefix.ASCII.LLL), 61: variable(999, prefix.ASCII.LLL), 62: variable(999, prefix.ASCII.LLL), 63: variable(999, prefix.ASCII.LLL),
		64:           field.NewBinary(&field.Spec{Length: 8, Enc: encoding.Binary, Pref: prefix.Binary.Fixed}),
		fieldNetwork: fixed(3),
		128:          field.NewBinary(&field.Spec{Length: 8, Enc: encoding.Binary, Pref: prefix.Binary.Fixed}),
	},
}

func fixed(n int) field.Field {
	return field.NewString(&field.Spec{Length: n, Enc: encoding.ASCII, Pref: prefix.ASCII.Fixed})
}

func variable(n int, p prefix.Prefixer) field.Field {
	return field.NewString(&field.Spec{Length: n, Enc: encoding.ASCII, Pref: p})
}
