package profile

import (
	"testing"

	profiles "cardbureau/firmware-profiles"
)

// BenchmarkLoad is what every command pays at its start.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := Load(profiles.FS); err != nil {
			b.Fatal(err)
		}
	}
}
