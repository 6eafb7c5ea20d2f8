package usim

import "encoding/binary"

// File descriptor bytes (TS 102 221 table 11.5), shareable.
var descriptors = map[kind]byte{folder: 0x78, application: 0x78, transparent: 0x41, linear: 0x42, cyclic: 0x46}

// fcp is the template of file control parameters (TS 102 221 clause 11.1.1.3).
func (c *Chip) fcp(f *file) []byte {
	descriptor := []byte{descriptors[f.kind], 0x21}
	if f.kind == linear || f.kind == cyclic {
		descriptor = append(binary.BigEndian.AppendUint16(descriptor, uint16(f.record)), byte(c.records(f)))
	}
	life := byte(0x05)
	if !c.active(f) {
		life = 0x04
	}
	out := join(tlv(0x82, descriptor...), tlv(0x83, byte(f.fid>>8), byte(f.fid)))
	if f.kind == application {
		out = append(out, tlv(0x84, f.aid...)...)
	}
	if f.isFolder() {
		out = append(out, tlv(0xA5, tlv(0x80, 0x61)...)...)
	}
	out = append(out, tlv(0x8A, life)...)
	if arr := c.arrOf(f); arr != nil && f.rule != 0 {
		out = append(out, tlv(0x8B, byte(arr.fid>>8), byte(arr.fid), f.rule)...)
	}
	if f.isFolder() {
		out = append(out, c.pinStatus()...)
	} else {
		n := len(c.content(f))
		out = append(out, tlv(0x80, byte(n>>8), byte(n))...)
		if f.sfi == 0 {
			out = append(out, tlv(0x88)...)
		} else {
			out = append(out, tlv(0x88, f.sfi<<3)...)
		}
	}
	return tlv(0x62, out...)
}

// pinStatus is the PIN status template (TS 102 221 clause 11.1.1.4.10): a bit
// for each key reference, in their order, that says that it is enabled.
func (c *Chip) pinStatus() []byte {
	var bits byte
	var keys []byte
	for i, ref := range []byte{keyPIN1, keyPIN2, keyADM1} {
		if c.pin(ref).enabled {
			bits |= 0x80 >> i
		}
		keys = append(keys, tlv(0x83, c.referenceOf(ref))...)
	}
	return tlv(0xC6, append(tlv(0x90, bits), keys...)...)
}
