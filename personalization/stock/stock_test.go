package stock

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestReadList(t *testing.T) {
	want := []Blank{{"4790-5016-00000001", "virtual", "2026/07"}, {"4790-5016-00000002", "virtual", "2026/07"}}
	for name, text := range map[string]string{
		"csv":         "serial,chip,batch\n4790-5016-00000001,virtual,2026/07\n4790-5016-00000002,virtual,2026/07\n",
		"other order": "\xef\xbb\xbfBatch,note,Chip,Serial\r\n2026/07,\"a, b\",virtual,4790-5016-00000001\r\n\r\n2026/07,,virtual, 4790-5016-00000002",
		"json": `{"serial":"4790-5016-00000001","chip":"virtual","batch":"2026/07"}` + "\n\n" +
			`{"batch":"2026/07","serial":"4790-5016-00000002","chip":"virtual"}`,
	} {
		got, err := ReadList(strings.NewReader(text), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestReadListRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		line int
		says string
	}{
		"empty":           {"", 0, "names no blank"},
		"header alone":    {"serial,chip,batch\n", 1, "names no blank"},
		"column missing":  {"serial,chip\nA,b\n", 1, `column "batch"`},
		"column twice":    {"serial,chip,batch,chip\nA,b,c,d\n", 1, "twice"},
		"not a header":    {"\"", 1, "neither"},
		"values missing":  {"serial,chip,batch\nA,b\n", 2, "3 values"},
		"lower case":      {"serial,chip,batch\nabc,b,c\n", 2, "upper-case"},
		"empty serial":    {"serial,chip,batch\n,b,c\n", 2, "upper-case"},
		"wrong chip":      {"serial,chip,batch\nA,b c,c\n", 2, "chip or batch"},
		"long":            {"serial,chip,batch\n" + strings.Repeat("A", 65) + ",b,c\n", 2, "64"},
		"twice":           {"serial,chip,batch\nA,b,c\nB,b,c\nA,b,c\n", 4, "line 2 already"},
		"line too long":   {"serial,chip,batch\nA,b," + strings.Repeat("c", 2000), 2, "1024 bytes"},
		"not json":        {`{"serial":"A"`, 1, "JSON"},
		"unknown name":    {`{"serial":"A","chip":"b","batch":"c","owner":"x"}`, 1, "JSON"},
		"two objects":     {`{"serial":"A","chip":"b","batch":"c"}{}`, 1, "JSON"},
		"json then comma": {`{"serial":"A","chip":"b","batch":"c"}` + "\nA,b,c", 2, "JSON"},
	} {
		blanks, err := ReadList(strings.NewReader(tc.text), nil)
		var p *ListProblem
		if !errors.As(err, &p) || p.Line != tc.line || !strings.Contains(err.Error(), tc.says) || blanks != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := "serial,chip,batch\n" + strings.Repeat("a,b,c\n", 1000)
	if _, err := ReadList(strings.NewReader(many), nil); strings.Count(err.Error(), "\n")+1 != maxProblems {
		t.Errorf("%d problems are told", strings.Count(err.Error(), "\n")+1)
	}
}

func TestListsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 20).Draw(t, "n")
		var blanks []Blank
		for i := range n {
			blanks = append(blanks, Blank{
				Serial: fmt.Sprintf("%s-%d", rapid.StringMatching(`[A-Z0-9-]{1,30}`).Draw(t, "serial"), i),
				Chip:   rapid.StringMatching(`[A-Za-z0-9._/-]{1,64}`).Draw(t, "chip"),
				Batch:  rapid.StringMatching(`[A-Za-z0-9._/-]{1,64}`).Draw(t, "batch"),
			})
		}
		var file bytes.Buffer
		if err := WriteList(&file, blanks); err != nil {
			t.Fatal(err)
		}
		got, err := ReadList(&file, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(blanks, got); d != "" {
			t.Fatal(d)
		}
	})
}

func TestReadListNamesUnknownChips(t *testing.T) {
	list := "serial,chip,batch\nA1,virtual-gp,1\nA2,nochip,1\nA3,,1\nA4,otherchip,1\n"
	blanks, err := ReadList(strings.NewReader(list), func(chip string) bool { return chip == "virtual-gp" })
	if blanks != nil || err == nil {
		t.Fatalf("a list with unknown chips gave %v, %v", blanks, err)
	}
	for _, want := range []string{"line 3: there is no profile of chip \"nochip\"", "line 4: chip or batch is empty", "line 5: there is no profile of chip \"otherchip\""} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}
}

func FuzzReadList(f *testing.F) {
	f.Add([]byte("serial,chip,batch\nA,b,c\n"))
	f.Add([]byte(`{"serial":"A","chip":"b","batch":"c"}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		blanks, err := ReadList(bytes.NewReader(file), nil)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := WriteList(&again, blanks); err != nil {
			t.Fatal(err)
		}
		got, err := ReadList(&again, nil)
		if err != nil || !cmp.Equal(blanks, got) {
			t.Fatalf("%v, then %v %v", blanks, got, err)
		}
	})
}

func TestCounts(t *testing.T) {
	var c Counts
	for i, s := range States {
		if !s.Valid() {
			t.Errorf("%s is not valid", s)
		}
		c.Set(s, i+1)
	}
	if c.Out() != 36 || c.Present() != 1+2+3+6 {
		t.Errorf("sums: %+v", c)
	}
	c.Received, c.CarriedIn = 30, 6
	if err := c.Balance(); err != nil {
		t.Error(err)
	}
	c.Spoiled++
	var un *ErrUnbalanced
	if err := c.Balance(); !errors.As(err, &un) || un.In != 36 || un.Out != 37 {
		t.Errorf("a blank too many: %v", err)
	}
	if State("lost").Valid() {
		t.Error("an unknown state is valid")
	}
}

func TestShiftFollows(t *testing.T) {
	first := Shift{Number: 1, Counts: Counts{CarriedIn: 10, Issued: 3, Quarantined: 1, OnHand: 6}}
	second := Shift{Number: 2, Counts: Counts{CarriedIn: 7, Received: 5, OnHand: 12}}
	if err := second.Follows(first); err != nil {
		t.Error(err)
	}
	second.Counts.CarriedIn, second.Counts.OnHand = 6, 11
	if err := second.Follows(first); err == nil || !strings.Contains(err.Error(), "left 7") {
		t.Errorf("a blank lost between shifts: %v", err)
	}
	second.Counts.OnHand = 12
	if err := second.Follows(first); err == nil {
		t.Error("an unbalanced sheet follows")
	}
}
