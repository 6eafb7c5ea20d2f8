package judges

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"cardbureau/cardio/gp/cap/captest"
)

// AIDs of the smallest applet.
const (
	smallPackage  = "F0CB000001"
	smallModule   = "F0CB00000101"
	smallInstance = "F0CB0000010101"
)

// smallestCAP writes the CAP file of the smallest applet and returns its path.
func smallestCAP(t testing.TB) string {
	t.Helper()
	packageAID, _ := hex.DecodeString(smallPackage)
	moduleAID, _ := hex.DecodeString(smallModule)
	b, err := captest.File{Package: packageAID, Applet: moduleAID, Imports: []captest.Import{captest.Framework}, Code: 300}.JAR()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "small.cap")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
