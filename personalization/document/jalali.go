package document

import (
	"fmt"
	"time"
)

// tehran is Iran's time, UTC+03:30 all year since summer time was given up in 2022.
var tehran = time.FixedZone("Tehran", 3*3600+1800)

// jalali is a date of Iran's solar calendar. Leap years follow the cycle of 33 years,
// which agrees with the calendar as it is observed from 1244 to 1501 (1865 to 2122).
func jalali(t time.Time) (year, month, day int) {
	// 1 Farvardin of 1354 was 21 March 1975; 1354 begins a cycle (1354 = 41·33 + 1).
	const cycle = 33*365 + 8
	epoch := time.Date(1975, 3, 21, 0, 0, 0, 0, time.UTC)
	y, m, d := t.Date()
	days := int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Sub(epoch) / (24 * time.Hour))
	cycles := days / cycle
	if days %= cycle; days < 0 {
		days += cycle
		cycles--
	}
	year = 1354 + 33*cycles
	for {
		length := 365
		switch year % 33 {
		case 1, 5, 9, 13, 17, 22, 26, 30:
			length = 366
		}
		if days < length {
			break
		}
		days -= length
		year++
	}
	if days < 6*31 {
		return year, days/31 + 1, days%31 + 1
	}
	days -= 6 * 31
	return year, days/30 + 7, days%30 + 1
}

// jalaliText is date and time in Tehran, in Persian digits.
func jalaliText(t time.Time) string {
	t = t.In(tehran)
	y, m, d := jalali(t)
	return persianDigits(fmt.Sprintf("%04d/%02d/%02d", y, m, d)) + " ساعت " + persianDigits(t.Format("15:04"))
}
