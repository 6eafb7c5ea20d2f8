package profile

// Commands of an applet's own dialect, and what their answers give.

import (
	"bytes"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// command is a command of the profile's own, once or once a part.
func (p *planner) command(st *Step, c *Command) ([]planned, error) {
	if c.Chunk == nil {
		one, err := p.single(st, c)
		return []planned{one}, err
	}
	whole, err := c.Chunk.Of.eval(p.find)
	if err != nil {
		return nil, err
	}
	return p.chunks(st, c, whole, c.Chunk.Size, c.Chunk.Max, c.Chunk.Last)
}

// chunks sends a command once for each part of a value.
func (p *planner) chunks(st *Step, c *Command, whole []byte, size, most int, last Hex) ([]planned, error) {
	n := (len(whole) + size - 1) / size
	if n > most {
		return nil, planMistake("%d bytes take %d commands of %d, and %d are allowed", len(whole), n, size, most)
	}
	if n > maxIndex && c.usesIndex() {
		return nil, planMistake("%d commands, and it.index counts to %d", n, maxIndex-1)
	}
	out := make([]planned, 0, n)
	for i := range n {
		offset := i * size
		p.it["it.chunk"] = whole[offset:min(offset+size, len(whole))]
		p.it["it.offset"] = []byte{byte(offset >> 8), byte(offset)}
		p.it["it.index"] = []byte{byte(i)}
		if offset > 0xFFFF {
			return nil, planMistake("offset %d does not fit two bytes", offset)
		}
		one, err := p.single(st, c)
		if err != nil {
			return nil, err
		}
		if i == n-1 && len(last) == 1 {
			one.cmd.P1 |= last[0]
		}
		out = append(out, one)
	}
	return out, nil
}

func (p *planner) single(st *Step, c *Command) (planned, error) {
	header, err := c.Header.eval(p.find)
	if err != nil {
		return planned{}, err
	}
	if len(header) != 4 {
		return planned{}, planMistake("the header %s comes to %d bytes, not 4", c.Header, len(header))
	}
	data, err := c.Data.eval(p.find)
	if err != nil {
		return planned{}, err
	}
	if most := p.most(); len(data) > most {
		return planned{}, planMistake("command %X carries %d bytes, and %d fit", header, len(data), most)
	}
	out := planned{step: st, expect: statusWords(c.Expect), cmd: apdu.Command{
		CLA: header[0], INS: header[1], P1: header[2], P2: header[3], Data: data, Ne: c.Le,
	}}
	if len(c.Capture) > 0 {
		out.check = func(response []byte) error { return p.capture(c, response) }
	}
	return out, nil
}

func (p *planner) capture(c *Command, response []byte) error {
	for name, f := range c.Capture {
		v, ok := f.of(response)
		if !ok {
			return fmt.Errorf("the answer of %d bytes has no %s to take as %s", len(response), f.text, name)
		}
		p.captured[capturePrefix+name] = v
	}
	return nil
}

// of takes the field out of a response.
func (f Field) of(response []byte) ([]byte, bool) {
	if len(f.tags) > 0 {
		path := make([]tlv.Tag, len(f.tags))
		for i, t := range f.tags {
			path[i] = tlv.Tag(t)
		}
		v, ok := tlv.Path(response, path...)
		return bytes.Clone(v), ok
	}
	last := f.last
	if last < 0 {
		last = len(response) - 1
	}
	if f.first > last || last >= len(response) {
		return nil, false
	}
	return bytes.Clone(response[f.first : last+1]), true
}
