package opfile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cardbureau/hsm/aka"
	"cardbureau/personalization/record"
)

func iccid(n int) string {
	body := fmt.Sprintf("899811%012d", n)
	return body + string(record.LuhnDigit(body))
}

func example(n int, variables ...string) (Header, []Row) {
	h := Header{Customer: "MCI", Type: "PLUG-IN", Profile: "08.01", Batch: "00042", TransportKey: "sim-transport/1", Variables: variables}
	var rows []Row
	for i := range n {
		rows = append(rows, Row{
			ICCID: iccid(i), IMSI: fmt.Sprintf("43211%010d", i), PIN1: []byte("0000"), PUK1: []byte("12345678"), PIN2: []byte("4321"), PUK2: []byte("87654321"),
			ADM1: []byte("11112222"), KI: bytes.Repeat([]byte{0xA1}, 16), OPC: bytes.Repeat([]byte{0xB2}, 16), IV: make([]byte, 16), Keys: make([]byte, 60),
		})
	}
	return h, rows
}

func TestThereAndBack(t *testing.T) {
	for kind, variables := range map[Kind][]string{
		Input: {"ICCID", "IMSI"}, Output: {"ICCID", "IMSI", "PIN1", "PUK1", "PIN2", "PUK2", "ADM1", "KI", "OPC", "IV"},
	} {
		h, rows := example(3, variables...)
		var b bytes.Buffer
		if err := Write(&b, kind, h, rows); err != nil {
			t.Fatal(err)
		}
		crlf := strings.ReplaceAll(b.String(), "\n", "\r\n") + "* the end\r\n"
		for _, text := range []string{b.String(), "* a comment\n\n" + b.String(), crlf, strings.ToLower(b.String()[:20]) + b.String()[20:]} {
			f, err := NewReader(strings.NewReader(text), kind)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for row, err := range f.Rows() {
				if err != nil || row.ICCID != rows[n].ICCID || row.IMSI != rows[n].IMSI {
					t.Fatalf("row %d: %v", n, err)
				}
				if kind == Output && (string(row.ADM1) != "11112222" || !bytes.Equal(row.KI, rows[n].KI) || !bytes.Equal(row.OPC, rows[n].OPC)) {
					t.Errorf("row %d is another", n)
				}
				n++
			}
			if n != 3 || f.Header.Batch != "00042" || f.Header.Quantity != 3 {
				t.Errorf("%d rows, %+v", n, f.Header)
			}
		}
	}
}

// TestRefusals: every line that is not as it should be is named by its number, and
// nothing of it is repeated.
func TestRefusals(t *testing.T) {
	h, rows := example(3, "ICCID", "IMSI", "PUK1", "KI", "OPC")
	var b bytes.Buffer
	if err := Write(&b, Output, h, rows); err != nil {
		t.Fatal(err)
	}
	good := b.String()
	lines := strings.SplitAfter(good, "\n")
	change := func(line int, from, to string) string {
		all := append([]string{}, lines...)
		all[line-1] = strings.Replace(all[line-1], from, to, 1)
		return strings.Join(all, "")
	}
	for name, tc := range map[string]struct {
		text string
		line int
	}{
		"check digit":      {change(9, iccid(1), iccid(1)[:18]+string('0'+(iccid(1)[18]-'0'+1)%10)), 9},
		"IMSI":             {change(9, " 43211", " 4321x"), 9},
		"PUK":              {change(10, "12345678", "1234567"), 10},
		"key":              {change(8, "a1a1", "a1"), 8},
		"no hexadecimal":   {change(8, "a1a1", "a1g1"), 8},
		"two spaces":       {change(8, " ", "  "), 8},
		"a field more":     {change(8, "\n", " x\n"), 8},
		"quantity":         {change(2, "3", "4"), 11},
		"more rows":        {change(2, "3", "2"), 10},
		"quantity none":    {change(2, "3", "0"), 2},
		"quantity sign":    {change(2, "3", "+3"), 2},
		"name twice":       {change(3, "Type", "Customer"), 3},
		"name unknown":     {change(3, "Type", "Colour"), 3},
		"no colon":         {change(3, ":", ""), 3},
		"empty":            {change(3, "PLUG-IN", ""), 3},
		"no batch":         {change(5, "Batch: 00042\n", "* nothing\n"), 7},
		"variable":         {change(7, "PUK1", "PUK3"), 7},
		"variable twice":   {change(7, "PUK1", "KI"), 7},
		"no ICCID":         {change(7, "ICCID", "PIN1"), 7},
		"OPC missing":      {change(7, "OPC", "PIN1"), 7},
		"row twice":        {change(9, lines[8], lines[7]), 9},
		"cut off":          {strings.TrimSuffix(good, "\n"), 10},
		"long":             {change(9, "\n", strings.Repeat("0", MaxLine)+"\n"), 9},
		"ends in header":   {strings.Join(lines[:4], ""), 4},
		"endless comments": {strings.Repeat("*\n", maxHeader+1) + good, maxHeader + 2},
		"control":          {change(1, "MCI", "M\x07I"), 1},
	} {
		_, err := Check(strings.NewReader(tc.text), Output)
		var line *LineError
		if !errors.As(err, &line) || line.Line != tc.line || !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v, want line %d", name, err, tc.line)
			continue
		}
		for _, secret := range []string{"12345678", "1234567 ", "a1a1a1", "432110", "8998110"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error repeats the line: %v", name, err)
			}
		}
	}
	// All bad lines are named, not the first alone.
	_, err := Check(strings.NewReader(strings.ReplaceAll(good, " 12345678", " 1")), Output)
	if n := strings.Count(fmt.Sprint(err), "line "); n != 3 {
		t.Errorf("%d lines named: %v", n, err)
	}
	if _, err := Check(strings.NewReader(good), Input); err == nil {
		t.Error("an output file is an input file")
	}
	a, err1 := Check(strings.NewReader(good), Output)
	c, err2 := Check(strings.NewReader("* x\n"+good), Output)
	if errors.Join(err1, err2) != nil || a.Digest == c.Digest || a.Digest == [32]byte{} {
		t.Error("the digest is not of the whole file")
	}
	if err := Write(&b, Output, Header{}, rows); err == nil {
		t.Error("an incomplete header was written")
	}
}

// TestTUAKAndOTA: what a header says of its rows, and rows that are otherwise.
func TestTUAKAndOTA(t *testing.T) {
	tuak := &aka.TUAKParameters{MAC: 8, RES: 16, CK: 32, IK: 32, Iterations: 2}
	keys := map[string][]byte{"KIC1": bytes.Repeat([]byte{0xC1}, 16), "KID1": bytes.Repeat([]byte{0xD1}, 16)}
	legacy, rows := example(2, "ICCID", "IMSI", "KI", "TOPC", "KIC1", "KID1")
	legacy.TUAK, legacy.Programming = tuak, true
	sealed, more := example(2, "ICCID", "IMSI", "KEYS")
	sealed.TUAK = tuak
	for i := range rows {
		rows[i].KI, rows[i].OPC, rows[i].OTA = make([]byte, 32), make([]byte, 32), keys
		more[i].Keys = make([]byte, 92)
	}
	var file bytes.Buffer
	if err := errors.Join(Write(new(bytes.Buffer), Output, sealed, more), Write(&file, Output, legacy, rows)); err != nil {
		t.Fatal(err)
	}
	f, err := NewReader(bytes.NewReader(file.Bytes()), Output)
	if err != nil || *f.Header.TUAK != *tuak || !f.Header.Programming {
		t.Fatalf("%+v, %v", f, err)
	}
	for row, err := range f.Rows() {
		if err != nil || len(row.KI) != 32 || len(row.OPC) != 32 || !bytes.Equal(row.OTA["KID1"], keys["KID1"]) || len(row.OTA) != 2 {
			t.Errorf("row of line %d: %v", row.Line, err)
		}
	}
	good := file.String()
	for name, change := range map[string][2]string{
		"no algorithm": {"Algorithm: TUAK/64/128/256/256/2\n", ""}, "another algorithm": {"TUAK/64/128/256/256/2", "COMP128"}, "a MAC for no AUTN": {"TUAK/64", "TUAK/128"}, "CK and IK of two lengths on a blank": {"256/256", "128/256"},
		"no purpose": {"Purpose: programming\n", ""}, "another purpose": {"programming", "fun"}, "OPC": {"TOPC", "OPC"}, "KIC alone": {"/KID1", "/PUK1"},
		"a set of no number": {"KIC1/KID1", "KIC4/KID4"}, "a short key": {"c1c1", "c1"}, "an OTA key sealed by itself": {strings.Repeat("c1", 16), strings.Repeat("c1", 44)},
	} {
		if _, err := Check(strings.NewReader(strings.Replace(good, change[0], change[1], 1)), Output); !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Sizes of the one algorithm under the name of the other.
	h, plain := example(1, "ICCID", "IMSI", "KI", "OPC")
	plain[0].KI = make([]byte, 32)
	if Write(new(bytes.Buffer), Output, h, plain) == nil {
		t.Error("a K of 32 bytes for MILENAGE")
	}
	h, plain = example(1, "ICCID", "IMSI", "KEYS")
	h.TUAK = tuak
	if Write(new(bytes.Buffer), Output, h, plain) == nil {
		t.Error("keys of 60 bytes for TUAK")
	}
}

func TestRowsShowNothing(t *testing.T) {
	_, rows := example(1)
	text := fmt.Sprintf("%v %+v %#v %s", rows[0], rows[0], rows[0], rows)
	if strings.Contains(text, "0000") || strings.Contains(text, "899811") || strings.Contains(text, "161") {
		t.Errorf("printed: %s", text)
	}
}

func FuzzRead(f *testing.F) {
	for kind, variables := range map[Kind][]string{Input: {"ICCID", "IMSI"}, Output: {"ICCID", "IMSI", "PIN1", "ADM1", "KEYS"}} {
		h, rows := example(2, variables...)
		var b bytes.Buffer
		if err := Write(&b, kind, h, rows); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
		f.Add(bytes.Replace(b.Bytes(), []byte("Batch"), []byte("Algorithm: TUAK/64/64/128/128/1\nPurpose: programming\nBatch"), 1))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []Kind{Input, Output} {
			s, err := Check(bytes.NewReader(b), kind)
			if err != nil {
				continue
			}
			r, err := NewReader(bytes.NewReader(b), kind)
			if err != nil {
				t.Fatal(err)
			}
			var rows []Row
			for row, err := range r.Rows() {
				if err != nil {
					t.Fatal(err)
				}
				rows = append(rows, row)
			}
			if err := Write(new(bytes.Buffer), kind, r.Header, rows); err != nil || len(rows) != s.Header.Quantity {
				t.Fatalf("what was read cannot be written: %v", err)
			}
		}
	})
}

// TestKeysOf24Bytes: they are no whole number of blocks of AES, which a file's check says
// before any key is opened.
func TestKeysOf24Bytes(t *testing.T) {
	for _, c := range []struct {
		transport, variable string
		size                int
		want                bool
	}{
		{"sim-programming/1", "KI", 24, false}, {"sim-programming-des/1", "KI", 24, true},
		{"sim-programming/1", "KI", 16, true}, {"sim-programming/1", "KI", 32, true}, {"sim-transport/1", "KEYS", 24 + 28, true},
	} {
		variables := []string{"ICCID", "IMSI", "KI", "OPC", "KIC1", "KID1"}
		if c.variable == "KEYS" {
			variables = []string{"ICCID", "IMSI", "KEYS", "KIC1", "KID1"}
		}
		h, rows := example(1, variables...)
		h.TransportKey, h.Programming = c.transport, true
		rows[0].OTA = map[string][]byte{"KIC1": make([]byte, c.size), "KID1": make([]byte, c.size)}
		if c.variable != "KEYS" {
			rows[0].Keys = nil
		}
		var b bytes.Buffer
		var line *LineError
		if err := Write(&b, Output, h, rows); (err == nil) != c.want || err != nil && !errors.As(err, &line) {
			t.Errorf("%d bytes under %s with %s: %v", c.size, c.transport, c.variable, err)
		}
	}
}
