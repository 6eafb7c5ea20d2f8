package bank

import (
	"testing"
	"time"
	_ "time/tzdata" // some machines have no time zones
)

// TestDaysMeet: each moment is of the one day within whose bounds it is, also where
// clocks change, in Iran (until 2022) and elsewhere at midnight.
func TestDaysMeet(t *testing.T) {
	for _, name := range []string{"UTC", "Asia/Tehran", "Africa/Cairo", "America/Havana", "America/Asuncion", "Asia/Beirut", "Europe/Berlin", "Pacific/Apia"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		s := &Service{Zone: zone}
		day := time.Date(2021, 12, 28, 0, 0, 0, 0, time.UTC)
		_, before := s.bounds(day.AddDate(0, 0, -1))
		for range 3 * 366 {
			from, to := s.bounds(day)
			if !from.Equal(before) || !from.Before(to) {
				t.Fatalf("%s: %s is from %s to %s, the day before ends %s", name, day.Format(time.DateOnly), from, to, before)
			}
			if !s.dayOf(from).Equal(day) || !s.dayOf(to.Add(-1)).Equal(day) || s.dayOf(to).Equal(day) || s.dayOf(from.Add(-1)).Equal(day) {
				t.Errorf("%s: %s is from %s to %s", name, day.Format(time.DateOnly), from, to)
			}
			before, day = to, day.AddDate(0, 0, 1)
		}
	}
}
