package profile

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

func find(name, how string) ([]byte, error) {
	switch how + name {
	case "file.dg1":
		return []byte{1, 2, 3}, nil
	case "file.dg2":
		return bytes.Repeat([]byte{9}, 300), nil
	case "enciphersecret.pin":
		return []byte{0xEE}, nil
	case "kcvsecret.bac":
		return []byte{0xC0, 0xDE, 0x01}, nil
	}
	return nil, fmt.Errorf("nothing is known of %s", name)
}

func TestValues(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "",
		"00A4 020C":                            "00a4020c",
		"file.dg1 90":                          "01020390",
		"length(file.dg1)":                     "03",
		"length(file.dg2)":                     "82012c",
		"length(file.dg2, 2)":                  "012c",
		"length(file.dg1, 4)":                  "00000003",
		"tlv(5F1F, file.dg1)":                  "5f1f03010203",
		"tlv(30, tlv(04, AABB))":               "30040402aabb",
		"pad(file.dg1, 8)":                     "0102038000000000",
		"pad(0102030405060708, 8)":             "01020304050607088000000000000000",
		"encipher(secret.pin) kcv(secret.bac)": "eec0de01",
		"tlv(81, length(file.dg2, 2) kcv(secret.bac))": "8105012cc0de01",
	} {
		v, err := ParseValue(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got, err := v.eval(find)
		if err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%q is %x (%v), want %s", text, got, err, want)
		}
	}
}

func TestValuesThatMeanNothing(t *testing.T) {
	for text, want := range map[string]string{
		"0":                      "neither an even number",
		"file":                   "neither an even number",
		"lenght(file.dg1)":       `did you mean "length"?`,
		"length(file.dg1, 5)":    "at most 4 bytes",
		"length(file.dg1, x)":    "is no number",
		"length(file.dg1, 1, 2)": "arguments at most",
		"tlv(5F1F)":              "arguments at least",
		"tlv(5F, 00)":            "is no tag",
		"tlv(file.dg1, 00)":      "hexadecimal digits",
		"tlv(04, )":              "an empty argument",
		"encipher(file.dg1)":     "takes one secret",
		"kcv(secret.bac 00)":     "takes one secret",
		"tlv(04, 00":             "not closed",
		"00)":                    "closes nothing",
		"00, 01":                 "a comma",
		"file.dg1 + 1":           "cannot stand in a value",
		strings.Repeat("pad(", 20) + "00" + strings.Repeat(", 8)", 20): "nested more than",
	} {
		if _, err := ParseValue(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	v, err := ParseValue("length(file.dg2, 1)")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.eval(find); err == nil {
		t.Error("300 fitted into a byte")
	}
}

func TestFields(t *testing.T) {
	response := []byte{0x7F, 0x49, 0x04, 0x86, 0x02, 0xAB, 0xCD}
	for text, want := range map[string]string{"0..1": "7f49", "5..": "abcd", "tag 7F49/86": "abcd", "6..7": "", "tag 7F4A": ""} {
		f, err := parseField(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := f.of(response); hex.EncodeToString(got) != want || ok != (want != "") {
			t.Errorf("%s is %x, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "1", "2..1", "-1..2", "tag", "tag XY", "tag 00", "a..b"} {
		if _, err := parseField(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func FuzzParseValue(f *testing.F) {
	for _, s := range []string{"00A4020C", "tlv(62, length(file.dg1, 2) file.dg1)", "pad(secret.pin, 16) it.offset", "encipher(secret.pin)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ParseValue(text)
		if err != nil {
			return
		}
		_, _ = v.eval(find)
		if _, err := ParseValue(v.String()); err != nil {
			t.Errorf("%q was read once and not again: %v", text, err)
		}
	})
}
