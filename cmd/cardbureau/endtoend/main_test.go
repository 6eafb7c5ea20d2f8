// Package endtoend tests the built program as a bureau runs it: a data folder,
// virtual readers on a real PC/SC daemon, processes that are killed, and
// everything that they leave behind.
package endtoend

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// program is the built cardbureau.
var program string

// torture is set where a run may take minutes: every point instead of a sample.
var torture = os.Getenv("CARDBUREAU_TORTURE") != ""

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cb-endtoend-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "cardbureau")
	build := exec.Command("go", "build", "-o", program, "cardbureau/cmd/cardbureau")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
