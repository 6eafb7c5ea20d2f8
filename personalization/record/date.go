package record

import (
	"errors"
	"fmt"
	"time"
)

// Date is a Gregorian calendar date, without time and zone. The zero Date means
// that none was given.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// ErrDate says that a text is not a date that exists.
var ErrDate = errors.New("record: not a date that exists")

// ParseDate reads YYYY-MM-DD (ISO 8601 calendar date, extended form) and
// refuses dates that do not exist with ErrDate.
func ParseDate(s string) (Date, error) {
	y, m, d, ok := splitDate(s)
	if !ok || y < 1 || m < 1 || m > 12 || d < 1 || d > daysIn(y, m) {
		return Date{}, ErrDate
	}
	return Date{y, time.Month(m), d}, nil
}

// DateOf is the date that t has in UTC.
func DateOf(t time.Time) Date {
	y, m, d := t.UTC().Date()
	return Date{y, m, d}
}

// IsZero reports whether no date was given.
func (d Date) IsZero() bool { return d == Date{} }

// String is YYYY-MM-DD, or empty for the zero Date.
func (d Date) String() string {
	if d.IsZero() {
		return ""
	}
	return fmt.Sprintf("%04d-%02d-%02d", d.Year, int(d.Month), d.Day)
}

// MarshalText is String.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDate.
func (d *Date) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDate(string(b))
	return err
}

// Before reports whether d is an earlier day than o.
func (d Date) Before(o Date) bool {
	if d.Year != o.Year {
		return d.Year < o.Year
	}
	if d.Month != o.Month {
		return d.Month < o.Month
	}
	return d.Day < o.Day
}

// MRZ is the date as the machine readable zone writes it: YYMMDD (ICAO 9303-3
// section 4.8).
func (d Date) MRZ() string {
	return fmt.Sprintf("%02d%02d%02d", d.Year%100, int(d.Month), d.Day)
}

// Time is the beginning of the day in UTC.
func (d Date) Time() time.Time { return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC) }

// years is how many full years lie between birth and on. Who is born on
// 29 February completes a year on 1 March where there is no such day.
func years(birth, on Date) int {
	n := on.Year - birth.Year
	if on.Month < birth.Month || on.Month == birth.Month && on.Day < birth.Day {
		n--
	}
	return n
}

// BirthDate is a Gregorian date of birth of which the day, or month and day, may
// be unknown (zero).
type BirthDate struct {
	Year  int
	Month time.Month // 0: unknown
	Day   int        // 0: unknown
}

// ParseBirthDate reads YYYY-MM-DD, YYYY-MM-00 or YYYY-00-00 and refuses dates
// that do not exist with ErrDate.
func ParseBirthDate(s string) (BirthDate, error) {
	y, m, d, ok := splitDate(s)
	switch {
	case !ok || y < 1 || m > 12:
		return BirthDate{}, ErrDate
	case m == 0 && d != 0:
		return BirthDate{}, ErrDate
	case m != 0 && d > daysIn(y, m):
		return BirthDate{}, ErrDate
	}
	return BirthDate{y, time.Month(m), d}, nil
}

// Known reports whether month and day are known.
func (b BirthDate) Known() bool { return b.Month != 0 && b.Day != 0 }

// String is YYYY-MM-DD with 00 for what is unknown.
func (b BirthDate) String() string {
	return fmt.Sprintf("%04d-%02d-%02d", b.Year, int(b.Month), b.Day)
}

// MarshalText is String.
func (b BirthDate) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText is ParseBirthDate.
func (b *BirthDate) UnmarshalText(t []byte) (err error) {
	*b, err = ParseBirthDate(string(t))
	return err
}

// MRZ is the date as the machine readable zone writes it: YYMMDD with fillers
// for what is unknown (ICAO 9303-3 section 4.8).
func (b BirthDate) MRZ() string {
	s := []byte(fmt.Sprintf("%02d%02d%02d", b.Year%100, int(b.Month), b.Day))
	if b.Month == 0 {
		s[2], s[3] = '<', '<'
	}
	if b.Day == 0 {
		s[4], s[5] = '<', '<'
	}
	return string(s)
}

// Earliest is the first day that the birth can have been.
func (b BirthDate) Earliest() Date {
	d := Date(b)
	if d.Month == 0 {
		d.Month = time.January
	}
	if d.Day == 0 {
		d.Day = 1
	}
	return d
}

// Latest is the last day that the birth can have been.
func (b BirthDate) Latest() Date {
	d := Date(b)
	if d.Month == 0 {
		d.Month = time.December
	}
	if d.Day == 0 {
		d.Day = daysIn(d.Year, int(d.Month))
	}
	return d
}

// ProtectionAge is the age in full years that decides who is protected as a
// minor: counted from the latest day that the birth can have been, so that
// doubt protects.
func (b BirthDate) ProtectionAge(on Date) int { return years(b.Latest(), on) }

// EntitlementAge is the age in full years that decides what a person may have:
// counted from the earliest day that the birth can have been, so that doubt
// takes nothing away.
func (b BirthDate) EntitlementAge(on Date) int { return years(b.Earliest(), on) }

func splitDate(s string) (y, m, d int, ok bool) {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return 0, 0, 0, false
	}
	for i := range len(s) {
		if i != 4 && i != 7 && (s[i] < '0' || s[i] > '9') {
			return 0, 0, 0, false
		}
	}
	two := func(i int) int { return int(s[i]-'0')*10 + int(s[i+1]-'0') }
	return two(0)*100 + two(2), two(5), two(8), true
}

func daysIn(y, m int) int {
	return time.Date(y, time.Month(m)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
