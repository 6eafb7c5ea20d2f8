package judges

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	status := m.Run()
	end()
	os.Exit(status)
}

// atEnd is what runs after all tests, last come first served.
var atEnd []func()

func end() {
	for i := len(atEnd) - 1; i >= 0; i-- {
		atEnd[i]()
	}
}
