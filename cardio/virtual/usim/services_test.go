package usim

import (
	"fmt"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
)

// Files of services: a table says that a service is there only with its files, and a file
// is used only where the table has its service. The numbers are those of osmocom's pySim
// (EF_UST_map, EF_SST_map), which reads both tables of real cards.
var (
	// TS 31.102 clause 4.2.8.
	usimServices = map[int]string{
		1: "5F3A/4F30", 2: "6F3B", 3: "6F4B", 4: "6F49", 6: "6F4D", 7: "6F4E", 8: "6F81", 9: "6F80", 10: "6F3C", 11: "6F47", 12: "6F42", 13: "6F41", 15: "6F45",
		16: "6F50", 17: "6F3E", 18: "6F3F", 19: "6F46", 20: "6F60", 21: "6F40", 42: "6F61", 43: "6F62", 45: "6FC5", 46: "6FC6", 47: "6FC7", 48: "6FCA", 49: "6FCB",
		51: "6FCD", 52: "6FCE", 55: "6FD2", 56: "6FD3", 68: "6FD6", 71: "6FD9", 85: "6FE3",
	}
	// TS 51.011 clause 10.3.7. Those of DF.TELECOM are named with it.
	gsmServices = map[int]string{
		2: "7F10/6F3A", 3: "7F10/6F3B", 4: "7F10/6F3C", 5: "6F41", 6: "7F10/6F3D", 7: "6F30", 9: "7F10/6F40", 10: "7F10/6F4A", 11: "7F10/6F4B", 12: "7F10/6F42",
		13: "7F10/6F44", 14: "6F45", 15: "6F3E", 16: "6F3F", 17: "6F46", 18: "7F10/6F49",
	}
)

// TestServicesHaveTheirFiles: what EF.UST and EF.SST say is there, is there, and nothing
// else. What is of messages, numbers and calls is never read, but stands there.
func TestServicesHaveTheirFiles(t *testing.T) {
	h := newHost(t, example())
	h.ok(pin1Right)
	h.usim()
	exists := func(path string) bool {
		path = strings.ReplaceAll(path, "/", "")
		return h.tpdu(fmt.Sprintf("00A4080C%02X", len(path)/2)+path) == "9000"
	}
	table := func(path string) []byte {
		t.Helper()
		if !exists(path) {
			t.Fatalf("%s is not there", path)
		}
		r := h.send(apdu.Command{INS: insReadBinary, Ne: 256})
		if !r.SW.OK() {
			t.Fatalf("%s: %v", path, r.SW)
		}
		return r.Data
	}
	ust, sst := table("7FFF/6F38"), table("7F20/6F38")
	for _, c := range []struct {
		name     string
		has      func(n int) bool
		services map[int]string
		folder   string
	}{
		{"EF.UST", func(n int) bool { return ust[(n-1)/8]>>((n-1)%8)&1 == 1 }, usimServices, "7FFF/"},
		{"EF.SST", func(n int) bool { return sst[(n-1)/4]>>(2*((n-1)%4))&3 == 3 }, gsmServices, "7F20/"},
	} {
		for n, path := range c.services {
			if !strings.HasPrefix(path, "7F10/") {
				path = c.folder + path
			}
			if c.has(n) != exists(path) {
				t.Errorf("%s: service %d is %v, its file %s %v", c.name, n, c.has(n), path, exists(path))
			}
		}
	}
}
