package record

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDate(t *testing.T) {
	for s, ok := range map[string]bool{
		"2024-02-29": true, "2023-02-29": false, "2000-02-29": true, "1900-02-29": false, "2024-04-31": false, "2024-12-31": true,
		"0000-01-01": false, "2024-00-01": false, "2024-13-01": false, "2024-01-00": false, "2024-1-01": false, "2024/01/01": false,
		"": false, "2024-01-011": false, "-024-01-01": false,
	} {
		if d, err := ParseDate(s); (err == nil) != ok || ok && d.String() != s {
			t.Errorf("%s: %v, %v", s, d, err)
		}
	}
}

func TestParseBirthDate(t *testing.T) {
	for _, c := range []struct{ in, mrz, early, late string }{
		{"1990-05-17", "900517", "1990-05-17", "1990-05-17"},
		{"1990-05-00", "9005<<", "1990-05-01", "1990-05-31"},
		{"2008-02-00", "0802<<", "2008-02-01", "2008-02-29"},
		{"1990-00-00", "90<<<<", "1990-01-01", "1990-12-31"},
	} {
		b, err := ParseBirthDate(c.in)
		if err != nil || b.String() != c.in || b.MRZ() != c.mrz || b.Earliest().String() != c.early || b.Latest().String() != c.late {
			t.Errorf("%s: %v %s %s…%s %v", c.in, b, b.MRZ(), b.Earliest(), b.Latest(), err)
		}
		if b.Known() != (c.early == c.late) {
			t.Errorf("%s: known %v", c.in, b.Known())
		}
	}
	for _, s := range []string{"1990-02-30", "1990-00-17", "0000-00-00", "1990-13-00", "1990-05-32", "x"} {
		if b, err := ParseBirthDate(s); err == nil {
			t.Errorf("%s is %v", s, b)
		}
	}
}

func TestDateProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-2e9, 4e9).Draw(t, "s"), 0)
		d := DateOf(at)
		back, err := ParseDate(d.String())
		if err != nil || back != d || d.Before(d) || !d.Before(DateOf(at.AddDate(0, 0, 1))) {
			t.Fatalf("%v %v %v", d, back, err)
		}
		if !d.Time().Equal(at.UTC().Truncate(24 * time.Hour)) {
			t.Fatalf("%v", d.Time())
		}
		b := BirthDate{d.Year, d.Month, rapid.SampledFrom([]int{0, d.Day}).Draw(t, "day")}
		if b.ProtectionAge(d) > b.EntitlementAge(d) {
			t.Fatalf("%v", b)
		}
		j, err := json.Marshal(b)
		var c BirthDate
		if err != nil || json.Unmarshal(j, &c) != nil || c != b {
			t.Fatalf("%s %v", j, err)
		}
	})
	if (Date{}).String() != "" || (Date{2031, 4, 9}).MRZ() != "310409" {
		t.Error("the zero date is empty; 9 April 2031 is 310409")
	}
}

func FuzzDates(f *testing.F) {
	f.Add("1990-05-00")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDate(s); err == nil && d.String() != s {
			t.Errorf("%q is %v", s, d)
		}
		if b, err := ParseBirthDate(s); err == nil && (b.String() != s || len(b.MRZ()) != 6 || b.Latest().Before(b.Earliest())) {
			t.Errorf("%q is %v", s, b)
		}
	})
}
