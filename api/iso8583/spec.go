package iso8583

import (
	"maps"

	lib "github.com/moov-io/iso8583"
	"github.com/moov-io/iso8583/encoding"
	"github.com/moov-io/iso8583/field"
	"github.com/moov-io/iso8583/prefix"
)

// Data elements that the adapter reads or writes (ISO 8583:1987, section 4.4).
const (
	fieldPAN      = 2
	fieldAmount   = 4
	fieldSTAN     = 11
	fieldSequence = 23
	fieldCode     = 39
	fieldCurrency = 49
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
		64: field.NewBinary(&field.Spec{Length: 8, Enc: encoding.Binary, Pref: prefix.Binary.Fixed}),
		65: field.NewBinary(&field.Spec{Length: 8, Enc: encoding.Binary, Pref: prefix.Binary.Fixed}),
		66: fixed(1), 67: fixed(2), 68: fixed(3), 69: fixed(3), fieldNetwork: fixed(3), 71: fixed(4), 72: fixed(4), 73: fixed(6),
		74: fixed(10), 75: fixed(10), 76: fixed(10), 77: fixed(10), 78: fixed(10), 79: fixed(10), 80: fixed(10), 81: fixed(10),
		82: fixed(12), 83: fixed(12), 84: fixed(12), 85: fixed(12), 86: fixed(16), 87: fixed(16), 88: fixed(16), 89: fixed(16), 90: fixed(42),
		91: fixed(1), 92: fixed(2), 93: fixed(5), 94: fixed(7), 95: fixed(42),
		96: field.NewBinary(&field.Spec{Length: 8, Enc: encoding.Binary, Pref: prefix.Binary.Fixed}), 97: fixed(17), 98: fixed(25),
		99: variable(11, prefix.ASCII.LL), 100: variable(11, prefix.ASCII.LL), 101: variable(17, prefix.ASCII.LL),
		102: variable(28, prefix.ASCII.LL), 103: variable(28, prefix.ASCII.LL), 104: variable(100, prefix.ASCII.LLL),
		128: field.NewBinary(&field.Spec{Length: 8, Enc: encoding.Binary, Pref: prefix.Binary.Fixed}),
	},
}

func init() {
	for n := 105; n <= 127; n++ {
		spec.Fields[n] = variable(999, prefix.ASCII.LLL)
	}
	wide.Name, wide.Fields = spec.Name, maps.Clone(spec.Fields)
	wide.Fields[1] = field.NewBitmap(&field.Spec{Description: "bitmaps", Length: 16, Enc: encoding.Binary, Pref: prefix.Binary.Fixed, DisableAutoExpand: true})
}

// secondBitmap is the bit of the first bitmap that says that a second one follows.
const secondBitmap = 0x80

// wide is the format of messages with two bitmaps. Element 65, which would announce a
// third, is data here: no element above 128 is known.
var wide = &lib.MessageSpec{}

// specOf is the format that a message's first bitmap says it has.
func specOf(text []byte) *lib.MessageSpec {
	if len(text) > 4 && text[4]&secondBitmap != 0 {
		return wide
	}
	return spec
}

// numeric are the elements that hold digits alone (ISO 8583:1987, table of data
// elements, attribute n).
var numeric = []int{
	2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 32, 33, 53,
	66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 92, 99, 100,
}

func fixed(n int) field.Field {
	return field.NewString(&field.Spec{Length: n, Enc: encoding.ASCII, Pref: prefix.ASCII.Fixed})
}

func variable(n int, p prefix.Prefixer) field.Field {
	return field.NewString(&field.Spec{Length: n, Enc: encoding.ASCII, Pref: p})
}
