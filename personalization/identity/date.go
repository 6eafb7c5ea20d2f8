package identity

import (
	"fmt"
	"strings"
	"time"
)

// MRZDate turns YYYY-MM-DD into the six characters YYMMDD of the MRZ. Day 00,
// or month and day 00, stand for unknown and become '<<' (Doc 9303-3, 4.8).
//
// The fillers then belong to the MRZ information that BAC and PACE are keyed
// with (MRZInformation): the chip's keys are made of "90<<<<", and an
// inspection system must feed the characters as printed, not guess a date.
func MRZDate(date string) (string, error) {
	if err := checkDate(date); err != nil {
		return "", err
	}
	s := date[2:4] + date[5:7] + date[8:10]
	if s[2:4] == "00" {
		return s[:2] + "<<<<", nil
	}
	if s[4:6] == "00" {
		return s[:4] + "<<", nil
	}
	return s, nil
}

// checkDate accepts YYYY-MM-DD, YYYY-MM-00 and YYYY-00-00 of dates that exist.
func checkDate(date string) error {
	if len(date) != 10 || date[4] != '-' || date[7] != '-' {
		return fmt.Errorf("%w: a date is written YYYY-MM-DD", ErrMRZ)
	}
	known := date
	switch {
	case strings.HasSuffix(date, "-00-00"):
		known = date[:4] + "-01-01"
	case strings.HasSuffix(date, "-00"):
		known = date[:8] + "01"
	}
	if _, err := time.Parse(time.DateOnly, known); err != nil {
		return fmt.Errorf("%w: there is no such date", ErrMRZ)
	}
	return nil
}
