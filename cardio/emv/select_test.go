package emv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/emv"
	"cardbureau/cardio/tlv"
)

// directory answers SELECT and READ RECORD alone, by a table: name in hexadecimal
// and P2, or record number.
type directory map[string][]byte

func (d directory) Transmit(_ context.Context, raw []byte) ([]byte, error) {
	c, err := apdu.Parse(raw)
	if err != nil {
		return nil, err
	}
	key := fmt.Sprintf("%x/%d", c.Data, c.P2)
	if c.INS == 0xB2 {
		key = fmt.Sprintf("record %d", c.P1)
	}
	if b, ok := d[key]; ok {
		return b, nil
	}
	if c.INS == 0xB2 {
		return []byte{0x6A, 0x83}, nil
	}
	return []byte{0x6A, 0x82}, nil
}

func fci(name string, sw string, inner ...[]byte) []byte {
	return append(tlv.Encode(0x6F, obj(0x84, name), tlv.Encode(0xA5, inner...)), unhex(sw)...)
}

func app(name, priority string) []byte {
	return tlv.Encode(0x61, obj(0x4F, name), tlv.Encode(0x50, []byte("X")), obj(0x87, priority))
}

const pse = "315041592e5359532e4444463031"

// TestSelection is Book 1, section 12.3: directory, list of AIDs, partial names,
// blocked ones, priorities.
func TestSelection(t *testing.T) {
	record := func(parts ...[]byte) []byte { return append(tlv.Encode(0x70, parts...), 0x90, 0) }
	ok := fci(pse, "9000", obj(0x88, "01"))
	for name, test := range map[string]struct {
		card directory
		want string
		err  error
	}{
		"directory by priority": {directory{pse + "/0": ok, "record 1": record(app("f000000364101001", "02")), "record 2": record(app("f000000364101002", "01"), app("a000000099", "01"))},
			"f000000364101002 f000000364101001", nil},
		"no priority is last":  {directory{pse + "/0": ok, "record 1": record(app("f000000364101001", "00"), app("f000000364101002", "0F"))}, "f000000364101002 f000000364101001", nil},
		"card blocked":         {directory{pse + "/0": {0x6A, 0x81}}, "", emv.ErrCardBlocked},
		"card blocked, no PSE": {directory{"f0000003641010/0": {0x6A, 0x81}}, "", emv.ErrCardBlocked},
		"PSE blocked":          {directory{pse + "/0": fci(pse, "6283", obj(0x88, "01")), "f0000003641010/0": fci("f0000003641010", "9000")}, "f0000003641010", nil},
		"PSE broken":           {directory{pse + "/0": ok, "record 1": record(obj(0x50, "20")), "f0000003641010/0": fci("f0000003641010", "9000")}, "f0000003641010", nil},
		"PSE is another's":     {directory{pse + "/0": ok, "record 1": record(app("a000000099", "01")), "f0000003641010/0": fci("f0000003641010", "9000")}, "f0000003641010", nil},
		"partial names":        {directory{"f0000003641010/0": fci("f000000364101001", "9000", obj(0x87, "03")), "f0000003641010/2": fci("f000000364101001", "9000")}, "f000000364101001", nil},
		"application blocked":  {directory{"f0000003641010/0": fci("f000000364101001", "6283"), "f0000003641010/2": fci("f000000364101002", "9000")}, "f000000364101002", nil},
		"nothing":              {directory{}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := emv.Candidates(t.Context(), test.card, []emv.Wanted{{AID: aid, Partial: true}})
			if !errors.Is(err, test.err) {
				t.Fatal(err)
			}
			var got []byte
			for _, c := range list {
				got = fmt.Appendf(got, "%x ", c.AID)
			}
			if string(bytes.TrimSpace(got)) != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
	exact := directory{"f0000003641010/0": fci("f000000364101001", "9000")}
	if list, err := emv.Candidates(t.Context(), exact, []emv.Wanted{{AID: aid}}); err != nil || len(list) != 0 {
		t.Errorf("a longer name for an exact one: %v %v", list, err)
	}
	if _, err := emv.Select(t.Context(), directory{"f0000003641010/0": fci("a0000000991010", "9000")}, aid); !errors.Is(err, emv.ErrFormat) {
		t.Errorf("another's name: %v", err)
	}
	if _, err := terminal(nil).Run(t.Context(), directory{}, emv.Transaction{}); !errors.Is(err, emv.ErrNoApplication) {
		t.Error(err)
	}
}
