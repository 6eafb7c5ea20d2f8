package usim

// Key references (TS 102 221 table 9.3).
const (
	keyPIN1 = 0x01
	keyPIN2 = 0x81
	keyADM1 = 0x0A
)

// operation is what an access rule is about: bits of the access mode byte of an
// EF (TS 102 221 table 9.5, ISO/IEC 7816-4 table 16), or an instruction.
type operation struct {
	mode        byte
	instruction byte
}

// Operations.
var (
	opRead       = operation{mode: 0x01}
	opUpdate     = operation{mode: 0x02}
	opDeactivate = operation{mode: 0x08}
	opActivate   = operation{mode: 0x10}
	opIncrease   = operation{instruction: insIncrease}
)

// condition is what must hold: never, always, or one of the keys verified.
type condition struct {
	always bool
	keys   []byte
}

// Rules: records of EF.ARR, by their number from 1.
const (
	ruleReadAlways = 1 + iota // UPDATE: ADM1
	ruleReadPIN               // UPDATE: ADM1
	ruleUser                  // READ and UPDATE: PIN1
	ruleADM                   // READ and UPDATE: ADM1
	ruleFixed                 // READ always, UPDATE never
	ruleCounter               // READ and INCREASE: PIN1, UPDATE: PIN2
	ruleUserAlways            // READ always, UPDATE: PIN1
	ruleADMOrUser             // READ: PIN1 or ADM1, UPDATE: PIN2
	ruleCount      = ruleADMOrUser
)

const arrRecord = 48 // bytes

func always() []byte          { return tlv(0x90) }
func never() []byte           { return tlv(0x97) }
func mode(bits byte) []byte   { return tlv(0x80, bits) }
func needs(key byte) []byte   { return tlv(0xA4, 0x83, 0x01, key, 0x95, 0x01, 0x08) }
func either(a, b byte) []byte { return tlv(0xA0, join(needs(a), needs(b))...) }

// arrContent is EF.ARR (TS 102 221 clause 13.4): access mode and security
// condition data objects, in expanded format.
func arrContent() []byte {
	const change = 0x1A // update, deactivate, activate
	records := [ruleCount][]byte{
		ruleReadAlways - 1: join(mode(0x01), always(), mode(change), needs(keyADM1)),
		ruleReadPIN - 1:    join(mode(0x01), needs(keyPIN1), mode(change), needs(keyADM1)),
		ruleUser - 1:       join(mode(0x03), needs(keyPIN1), mode(0x18), needs(keyADM1)),
		ruleADM - 1:        join(mode(0x03), needs(keyADM1), mode(0x18), never()),
		ruleFixed - 1:      join(mode(0x01), always(), mode(change), never()),
		ruleCounter - 1:    join(mode(0x01), needs(keyPIN1), tlv(0x84, insIncrease), needs(keyPIN1), mode(0x02), needs(keyPIN2)),
		ruleUserAlways - 1: join(mode(0x01), always(), mode(0x02), needs(keyPIN1), mode(0x18), needs(keyADM1)),
		ruleADMOrUser - 1:  join(mode(0x01), either(keyPIN1, keyADM1), mode(0x1A), needs(keyPIN2)),
	}
	var out []byte
	for _, r := range records {
		out = append(out, padded(r, arrRecord)...)
	}
	return out
}

// conditionOf reads a rule for an operation. What a rule does not speak of, and
// what is no rule, is never allowed.
func conditionOf(record []byte, op operation) condition {
	matches := false
	for len(record) >= 2 && record[0] != 0xFF {
		tag, n := record[0], int(record[1])
		if n > len(record)-2 {
			return condition{}
		}
		value := record[2 : 2+n]
		record = record[2+n:]
		switch tag {
		case 0x80:
			matches = n == 1 && op.mode != 0 && value[0]&op.mode != 0
		case 0x84:
			matches = n == 1 && op.instruction != 0 && value[0] == op.instruction
		case 0x90:
			if matches {
				return condition{always: true}
			}
		case 0xA4, 0xA0:
			if matches {
				return condition{keys: keysOf(tag, value)}
			}
		default:
			if matches {
				return condition{}
			}
		}
	}
	return condition{}
}

// keysOf lists the key references of a control reference template, or of an OR
// template of such.
func keysOf(tag byte, value []byte) (keys []byte) {
	for len(value) >= 2 && int(value[1]) <= len(value)-2 {
		inner := value[2 : 2+int(value[1])]
		switch {
		case tag == 0xA0 && value[0] == 0xA4:
			keys = append(keys, keysOf(0xA4, inner)...)
		case tag == 0xA4 && value[0] == 0x83 && len(inner) == 1:
			keys = append(keys, inner[0])
		}
		value = value[2+len(inner):]
	}
	return keys
}

// condition is that of a file: its rule is a record of the nearest EF.ARR from
// its own folder upwards.
func (c *Chip) condition(f *file, op operation) condition {
	arr := c.arrOf(f)
	if arr == nil || f.rule == 0 {
		return condition{}
	}
	record := c.record(arr, int(f.rule))
	return conditionOf(record, op)
}

func (c *Chip) arrOf(f *file) *file {
	d := f.parent
	if d == nil {
		d = f
	}
	for ; d != nil; d = d.parent {
		for _, id := range []uint16{fidARR, fidRootARR} {
			if arr := d.child(id); arr != nil && arr.kind == linear {
				return arr
			}
		}
	}
	return nil
}

// allowed says whether the terminal may do op with f now.
func (c *Chip) allowed(f *file, op operation) bool {
	k := c.condition(f, op)
	if k.always {
		return true
	}
	for _, key := range k.keys {
		if known(key) && c.satisfied(key) { // nobody can present a key that the card has not
			return true
		}
	}
	return false
}
