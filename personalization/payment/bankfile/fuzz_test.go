package bankfile

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// FuzzRead: no bytes break the reader, and what it reads it writes as the same bytes
// (but for the quotes that CSV may have).
func FuzzRead(f *testing.F) {
	for _, b := range samples(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, info, err := Read(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, ErrFile) {
				t.Fatal(err)
			}
			return
		}
		var out bytes.Buffer
		again, err := Write(&out, file, info.Format)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b, []byte(`"`)) && (!bytes.Equal(out.Bytes(), b) || again.Digest != info.Digest) {
			t.Fatal("written otherwise than read")
		}
	})
}

// FuzzLine reaches the values behind the running hash, which no fuzzer can guess.
func FuzzLine(f *testing.F) {
	for name, b := range samples(f) {
		for n, line := range bytes.Split(b, []byte(lineEnd)) {
			f.Add(name[:5], n > 2, line)
		}
	}
	f.Fuzz(func(t *testing.T, kind string, fixed bool, line []byte) {
		for _, k := range kinds {
			d := reader{file: newFile(k), format: CSV, columns: columns[k], header: true, line: 5}
			if fixed {
				d.format = Fixed
			}
			d.read(line)
			if len(d.problems) == 0 && !d.done && records(d.file) == 0 && len(line) > 0 {
				t.Fatal("a line made nothing and was not refused")
			}
		}
	})
}

func TestRapid(t *testing.T) {
	ibans := []string{}
	for n := range 20 {
		ibans = append(ibans, account(t, n*7919))
	}
	rapid.Check(t, func(t *rapid.T) {
		f := &Issuing{Header: Header{Sender: rapid.StringMatching(`[A-Z][A-Z0-9._-]{0,10}`).Draw(t, "sender"), Receiver: "SEPAH",
			Sequence: rapid.Uint64Range(2, 99_999_999).Draw(t, "sequence"), Previous: Digest(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "previous")), Day: day, Created: created}, DayNumber: rapid.Uint64Range(1, 999).Draw(t, "day number")}
		f.Previous[0] |= 1
		for n := range rapid.IntRange(0, 20).Draw(t, "rows") {
			f.Rows = append(f.Rows, Issue{Token: append([]byte{byte(n)}, rapid.SliceOfN(rapid.Byte(), 15, 31).Draw(t, "token")...), First6: "589210",
				Last4: rapid.StringMatching(`[0-9]{4}`).Draw(t, "last4"), Sequence: rapid.Uint64Range(0, 99).Draw(t, "psn"), IBAN: rapid.SampledFrom(ibans).Draw(t, "iban"),
				Expiry: time.Date(2026, time.Month(rapid.IntRange(1, 120).Draw(t, "month")), 1, 0, 0, 0, 0, time.UTC),
				Status: rapid.SampledFrom(statuses).Draw(t, "status"), Date: day})
		}
		for _, format := range []Format{CSV, Fixed} {
			var b, again bytes.Buffer
			info, err := Write(&b, f, format)
			if err != nil {
				t.Fatal(err)
			}
			back, _, err := As[*Issuing](bytes.NewReader(b.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			for i := range f.Rows {
				if fmt.Sprintf("%x%s", back.Rows[i].Token, back.Rows[i].IBAN) != fmt.Sprintf("%x%s", f.Rows[i].Token, f.Rows[i].IBAN) {
					t.Fatalf("row %d differs", i+1)
				}
			}
			if second, err := Write(&again, back, format); err != nil || second.Digest != info.Digest {
				t.Fatalf("%v", err)
			}
		}
	})
}
