package judges

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// compareFiles compares what a reader wrote into a folder with the card image.
func compareFiles(t *testing.T, c *issued, dir string) {
	t.Helper()
	for _, id := range order {
		got, err := os.ReadFile(filepath.Join(dir, id))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, c.files[id]) {
			t.Errorf("file %s (%s): %d bytes were read, and they are not the %d that were written", id, fileNames[id], len(got), len(c.files[id]))
		}
	}
}

// nfcEnv lets libnfc's users find the card in the PC/SC reader.
func nfcEnv(c *issued) []string { return append(c.env(), "NFC_PCSC_READER="+c.Reader) }

// mrtdreader, as Debian ships it, knows contactless readers of libnfc alone; a
// stand-in for libnfc gives it the PC/SC reader. All the rest is its own.
func TestMrtdreaderReadsTheCardWithBAC(t *testing.T) {
	needCommand(t, "mrtdreader", "mrtdreader")
	shim := compile(t, "libnfc-pcsc.so", []string{"nfc.c", "card.c"}, pcscLibrary, nfcLibrary)
	c := card(t)
	env := append(nfcEnv(c), "LD_PRELOAD="+shim)
	dir := t.TempDir()
	said := accepts(t, dir, env, "mrtdreader", c.mrzInformation())
	for what, want := range map[string]string{
		"EF.COM": "File content: " + hex.EncodeToString(c.files["011E"]) + "\n",
		"EF.SOD": "File content: " + hex.EncodeToString(c.files["011D"]) + "\n",
		"DG1":    string(c.files["0101"]) + "\n",
		"COM's list of DG1, DG2, DG11, DG13 and DG14": "Found: EF_DG1\nFound: EF_DG2\nFound: EF_DG11\nFound: EF_DG13\nFound: EF_DG14\n",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%s is not in what mrtdreader printed", what)
		}
	}
	portrait, err := os.ReadFile(filepath.Join(dir, "image.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(c.files["0102"], portrait) || !bytes.HasPrefix(portrait, []byte{0xFF, 0xD8, 0xFF}) || !bytes.HasSuffix(portrait, []byte{0xFF, 0xD9}) {
		t.Errorf("the portrait that mrtdreader saved (%d bytes) is not the JPEG in DG2", len(portrait))
	}

	// Another expiry date is another key.
	wrong := []byte(c.mrzInformation())
	wrong[23], wrong[22] = wrong[22], wrong[23]
	if wrong[22] == wrong[23] {
		wrong[22] ^= 1
	}
	_, complaint, status := ask(t, dir, env, "mrtdreader", string(wrong))
	if status == 0 || !strings.Contains(complaint, "Challenge failed") {
		t.Errorf("with the MRZ of another document: exit status %d, %q", status, complaint)
	}
}

func TestLibmrtdReadsEveryFileWithBAC(t *testing.T) {
	reader := compile(t, "mrtdfiles", []string{"mrtdfiles.c", "nfc.c", "card.c"}, pcscLibrary, mrtdLibrary)
	c := card(t)
	dir := t.TempDir()
	accepts(t, dir, nfcEnv(c), reader, append([]string{c.mrzInformation(), dir}, order...)...)
	compareFiles(t, c, dir)
}

// eacReader is the border reader on libeac.
func eacReader(t testing.TB) string {
	t.Helper()
	return compile(t, "eacreader", []string{"eacreader.c", "sm.c", "nfc.c", "card.c"}, pcscLibrary, eacLibrary, cryptoLibrary, mrtdLibrary)
}

func TestLibeacReadsEveryFileAndAuthenticatesTheChip(t *testing.T) {
	reader := eacReader(t)
	c := card(t)
	pace := "pace id-PACE-ECDH-GM-AES-CBC-CMAC-128\n"
	for _, password := range []struct{ kind, secret, says string }{{"can", c.CAN, pace}, {"mrz", c.mrz, pace}, {"bac", c.mrz, "bac\n"}} {
		// Short commands, and extended ones up to a whole file.
		for _, block := range []int{100, 223, 1000, 30000} {
			t.Run(fmt.Sprintf("%s, %d bytes a command", password.kind, block), func(t *testing.T) {
				dir := t.TempDir()
				args := append([]string{c.Reader, password.kind, password.secret, fmt.Sprint(block), dir}, order...)
				said := accepts(t, dir, c.env(), reader, args...)
				if said != password.says+"ca id-CA-ECDH-AES-CBC-CMAC-128\nfiles 7\n" {
					t.Errorf("it says %q", said)
				}
				compareFiles(t, c, dir)
			})
		}
	}
}

func TestLibeacIsRefusedWithAnotherPassword(t *testing.T) {
	reader := eacReader(t)
	c := card(t)
	can := []byte(c.CAN)
	can[0] = '0' + (can[0]-'0'+1)%10
	mrz := []byte(c.mrz)
	mrz[38] = '0' + (mrz[38]-'0'+1)%10
	for _, password := range [][2]string{{"can", string(can)}, {"mrz", string(mrz)}} {
		dir := t.TempDir()
		_, complaint, status := ask(t, dir, c.env(), reader, c.Reader, password[0], password[1], "223", dir, "0101")
		// Doc 9303-11, 4.4.4.4: the token is verified by the chip first, and 6300 says that it is wrong.
		if status == 0 || !strings.Contains(complaint, "GENERAL AUTHENTICATE 85: status word 6300") {
			t.Errorf("%s: exit status %d, %q", password[0], status, complaint)
		}
	}
}
