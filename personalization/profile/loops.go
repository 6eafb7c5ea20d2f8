package profile

import (
	"fmt"

	"cardbureau/cardio/apdu"
)

// What a files, records or put-data step sends where the profile gives no
// command of its own (ISO/IEC 7816-4:2020 clauses 11.2.2, 11.3.4, 11.4.4, 11.5.3).
var (
	selectFile   = &Command{Header: mustValue("00A4020C"), Data: mustValue("it.fid")}
	updateBinary = &Command{Header: mustValue("00D6 it.offset"), Data: mustValue("it.chunk")}
	// Data under 53, so that parts of up to 255 bytes have one byte of length or two.
	updateBinaryFar = &Command{Header: mustValue("00D70000"), Data: mustValue("tlv(54, it.offset) tlv(53, it.chunk)")}
	updateRecord    = &Command{Header: mustValue("00DC it.record it.reference"), Data: mustValue("it.value")}
	putData         = &Command{Header: mustValue("00DA it.tag"), Data: mustValue("it.value")}
)

func mustValue(text string) Value {
	v, err := ParseValue(text)
	if err != nil {
		panic(err)
	}
	return v
}

func or(c, usual *Command) *Command {
	if c == nil {
		return usual
	}
	return c
}

// maxIndex is how many parts it.index can number.
const maxIndex = 256

// usesIndex reports whether the command numbers its parts.
func (c *Command) usesIndex() bool {
	for _, v := range []Value{c.Header, c.Data} {
		for _, r := range v.references() {
			if r.name == "it.index" {
				return true
			}
		}
	}
	return false
}

// maxUpdates bounds the commands of one file: 65,535 bytes in the smallest parts.
const maxUpdates = 4096

func (p *planner) files(st *Step) (out []planned, err error) {
	f := st.Files
	for i := range f.List {
		value, err := f.List[i].Value.eval(p.find)
		if err != nil {
			return nil, err
		}
		p.it = map[string][]byte{"it.fid": f.List[i].FID, "it.value": value}
		for _, c := range []*Command{f.Create, or(f.Select, selectFile)} {
			if c == nil {
				continue
			}
			cmds, err := p.command(st, c)
			if err != nil {
				return nil, err
			}
			out = append(out, cmds...)
		}
		size := f.Chunk
		if size == 0 {
			size = min(p.most(), apdu.MaxShortData)
		}
		cmds, err := p.update(st, value, size)
		if err != nil {
			return nil, fmt.Errorf("file %s: %w", f.List[i].FID, err)
		}
		out = append(out, cmds...)
	}
	p.it = map[string][]byte{}
	return out, nil
}

// shortOffsets is how many bytes of a file an offset in P1 and P2 reaches: the
// top bit of P1 means something else.
const shortOffsets = 0x8000

// update writes a file in parts: with the profile's command, or with UPDATE BINARY,
// whose odd instruction takes offsets from 32,768 on as a data object.
func (p *planner) update(st *Step, value []byte, size int) ([]planned, error) {
	c := st.Files.Update
	if c != nil || len(value) <= shortOffsets {
		return p.chunks(st, or(c, updateBinary), value, size, maxUpdates, nil)
	}
	near := shortOffsets / size * size
	out, err := p.chunks(st, updateBinary, value[:near], size, maxUpdates, nil)
	if err != nil {
		return nil, err
	}
	const around = 4 + 3 // offset data object; tag and length of the data
	for offset, part := near, []byte(nil); offset < len(value); offset += len(part) {
		part = value[offset:min(offset+size-around, len(value))]
		p.it["it.offset"], p.it["it.chunk"] = []byte{byte(offset >> 8), byte(offset)}, part
		one, err := p.single(st, updateBinaryFar)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func (p *planner) records(st *Step) (out []planned, err error) {
	for _, r := range st.Records.List {
		value, err := r.Value.eval(p.find)
		if err != nil {
			return nil, err
		}
		p.it = map[string][]byte{
			"it.sfi": {byte(r.SFI)}, "it.record": {byte(r.Number)}, "it.reference": {byte(r.SFI<<3 | 4)}, "it.value": value,
		}
		cmds, err := p.command(st, or(st.Records.Update, updateRecord))
		if err != nil {
			return nil, err
		}
		out = append(out, cmds...)
	}
	p.it = map[string][]byte{}
	return out, nil
}

func (p *planner) putData(st *Step) (out []planned, err error) {
	for _, o := range st.PutData.List {
		value, err := o.Value.eval(p.find)
		if err != nil {
			return nil, err
		}
		p.it = map[string][]byte{"it.tag": append(make([]byte, 2-len(o.Tag)), o.Tag...), "it.value": value}
		cmds, err := p.command(st, or(st.PutData.Update, putData))
		if err != nil {
			return nil, err
		}
		out = append(out, cmds...)
	}
	p.it = map[string][]byte{}
	return out, nil
}
