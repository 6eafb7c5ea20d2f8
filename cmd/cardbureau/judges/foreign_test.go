package judges

import (
	"bufio"
	"bytes"
	"context"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cardbureau/cardio/lds"
	"cardbureau/cardio/lds/datagroup"
	"cardbureau/cardio/tlv"
)

// The travel document of the foreign chip: the TD1 specimen of Doc 9303-5.
const (
	foreignMRZ = "I<UTOD231458907<<<<<<<<<<<<<<<7408122F1204159UTO<<<<<<<<<<<6ERIKSSON<<ANNA<MARIA<<<<<<<<<<"
	foreignCAN = "500540"
)

// protocol is one of the object identifiers 0.4.0.127.0.7.2.2.FAMILY.2.KIND:
// family 4 is PACE-ECDH-GM, 3 is CA-ECDH; kind 1 is 3DES, 2 to 4 are AES with
// 128, 192 and 256 bits.
func protocol(family, kind int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{0, 4, 0, 127, 0, 7, 2, 2, family, 2, kind}
}

// ciphers are the kinds of protocol().
var ciphers = map[int]lds.Cipher{1: lds.TripleDES, 2: lds.AES128, 3: lds.AES192, 4: lds.AES256}

// der marshals, sets included.
func der(t testing.TB, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func set(t testing.TB, of ...[]byte) []byte {
	t.Helper()
	return der(t, asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSet, IsCompound: true, Bytes: bytes.Join(of, nil)})
}

// foreignDocument writes the foreign chip's files into a folder: PACE on
// standardized domain parameters, chip authentication on a curve that OpenSSL
// knows by name, with a key that OpenSSL makes and writes with explicit
// parameters.
func foreignDocument(t testing.TB, paceKind, parameters, caKind int, curve string) (dir string, dg2 []byte) {
	t.Helper()
	needCommand(t, "openssl", "openssl")
	dir = t.TempDir()
	write(t, dir, "011C", set(t, der(t, struct {
		OID                asn1.ObjectIdentifier
		Version, Parameter int
	}{protocol(4, paceKind), 2, parameters})))
	key := filepath.Join(dir, "chip.der")
	accepts(t, dir, nil, "openssl", "ecparam", "-name", curve, "-genkey", "-noout", "-outform", "DER", "-out", key)
	public := accepts(t, dir, nil, "openssl", "ec", "-inform", "DER", "-in", key, "-pubout", "-outform", "DER",
		"-param_enc", "explicit", "-conv_form", "uncompressed")
	write(t, dir, "010E", tlv.Encode(0x6E, set(t,
		der(t, struct {
			OID     asn1.ObjectIdentifier
			Version int
		}{protocol(3, caKind), 1}),
		der(t, struct {
			OID asn1.ObjectIdentifier
			Key asn1.RawValue
		}{asn1.ObjectIdentifier{0, 4, 0, 127, 0, 7, 2, 2, 1, 2}, asn1.RawValue{FullBytes: []byte(public)}}),
	)))
	write(t, dir, "0101", tlv.Encode(0x61, tlv.Encode(0x5F1F, []byte(foreignMRZ))))
	dg2 = tlv.Encode(0x75, bytes.Repeat([]byte("portrait"), 2500))
	write(t, dir, "0102", dg2)
	return dir, dg2
}

// foreignChip is a chip in a process of its own, whose cryptography is libeac
// and libmrtd.
type foreignChip struct {
	in  io.Writer
	out *bufio.Reader
}

func startForeignChip(t testing.TB, dir string) *foreignChip {
	t.Helper()
	program := compile(t, "foreignchip", []string{"foreignchip.c", "sm.c", "nfc.c", "card.c"}, pcscLibrary, eacLibrary, cryptoLibrary, mrtdLibrary)
	cmd := exec.Command(program, dir, foreignMRZ, foreignCAN)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the foreign chip: %v\n%s", err, said.String())
		}
	})
	return &foreignChip{in: in, out: bufio.NewReaderSize(out, 1<<18)}
}

// Transmit sends a command APDU.
func (c *foreignChip) Transmit(_ context.Context, command []byte) ([]byte, error) {
	if _, err := fmt.Fprintf(c.in, "%X\n", command); err != nil {
		return nil, err
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		return nil, err
	}
	return hex.DecodeString(strings.TrimSpace(line))
}

// reset is a reset of the chip.
func (c *foreignChip) reset(t testing.TB) {
	t.Helper()
	if _, err := fmt.Fprintln(c.in, "reset"); err != nil {
		t.Fatal(err)
	}
	if line, err := c.out.ReadString('\n'); err != nil || line != "ok\n" {
		t.Fatalf("reset: %q, %v", line, err)
	}
}

// readForeign reads what a border reader reads of the foreign chip.
func readForeign(t *testing.T, sm *lds.SecureMessaging, dg2 []byte) (dg14 *lds.SecurityInfos) {
	t.Helper()
	ctx := t.Context()
	file, err := lds.ReadFile(ctx, sm, lds.FileDG(1))
	if err != nil {
		t.Fatal(err)
	}
	if mrz, err := datagroup.ParseDG1(file); err != nil || mrz.DocumentNumber != "D23145890" {
		t.Errorf("DG1: %v %v", mrz, err)
	}
	got, err := lds.ReadFile(ctx, sm, lds.FileDG(2))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, dg2) {
		t.Errorf("DG2: %d bytes that are not the %d of the chip", len(got), len(dg2))
	}
	if file, err = lds.ReadFile(ctx, sm, lds.FileDG(14)); err != nil {
		t.Fatal(err)
	}
	inner, err := datagroup.DG14(file)
	if err != nil {
		t.Fatal(err)
	}
	if dg14, err = lds.ParseSecurityInfos(inner); err != nil {
		t.Fatal(err)
	}
	return dg14
}

// Our terminal opens a chip whose PACE, chip authentication and secure
// messaging are libeac's, on every elliptic curve of Doc 9303-11, 9.5.1, and
// with every cipher.
func TestOurTerminalOpensAChipOfLibeac(t *testing.T) {
	can, err := lds.CAN(foreignCAN)
	if err != nil {
		t.Fatal(err)
	}
	mrz, err := lds.MRZ("D23145890", "740812", "120415")
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		pace, parameters int
		ca               int
		curve            string
	}{
		{2, 12, 2, "prime256v1"},
		{1, 12, 1, "prime256v1"},
		{3, 12, 3, "prime256v1"},
		{4, 12, 4, "prime256v1"},
		{1, 8, 1, "prime192v1"},
		{2, 9, 2, "brainpoolP192r1"},
		{2, 10, 2, "secp224r1"},
		{2, 11, 2, "brainpoolP224r1"},
		{2, 13, 2, "brainpoolP256r1"},
		{3, 14, 3, "brainpoolP320r1"},
		{3, 15, 3, "secp384r1"},
		{4, 16, 4, "brainpoolP384r1"},
		{4, 17, 4, "brainpoolP512r1"},
		{4, 18, 4, "secp521r1"},
	} {
		password := []lds.Password{can, mrz}[i%2]
		t.Run(fmt.Sprintf("PACE %v on parameters %d, CA %v on %s", ciphers[c.pace], c.parameters, ciphers[c.ca], c.curve), func(t *testing.T) {
			dir, dg2 := foreignDocument(t, c.pace, c.parameters, c.ca, c.curve)
			chip := startForeignChip(t, dir)
			ctx := t.Context()
			raw, infos, err := lds.ReadCardAccess(ctx, chip)
			if err != nil {
				t.Fatal(err)
			}
			if want, _ := os.ReadFile(filepath.Join(dir, "011C")); !bytes.Equal(raw, want) {
				t.Errorf("EF.CardAccess: %X", raw)
			}
			sm, err := lds.OpenPACE(ctx, chip, password, infos)
			if err != nil {
				t.Fatal(err)
			}
			if sm.Cipher() != ciphers[c.pace] {
				t.Errorf("PACE with %v", sm.Cipher())
			}
			if err := lds.SelectApplication(ctx, sm); err != nil {
				t.Fatal(err)
			}
			dg14 := readForeign(t, sm, dg2)
			next, err := lds.ChipAuthentication(ctx, sm, dg14)
			if err != nil {
				t.Fatal(err)
			}
			if next.Cipher() != ciphers[c.ca] {
				t.Errorf("chip authentication with %v", next.Cipher())
			}
			readForeign(t, next, dg2)
		})
	}
}

func TestOurTerminalOpensAChipOfLibmrtdWithBAC(t *testing.T) {
	dir, dg2 := foreignDocument(t, 2, 12, 1, "prime256v1")
	chip := startForeignChip(t, dir)
	ctx := t.Context()
	for _, try := range []struct {
		expiry string
		opens  bool
	}{{"120416", false}, {"120415", true}} {
		chip.reset(t)
		password, err := lds.MRZ("D23145890", "740812", try.expiry)
		if err != nil {
			t.Fatal(err)
		}
		if err := lds.SelectApplication(ctx, chip); err != nil {
			t.Fatal(err)
		}
		sm, err := lds.OpenBAC(ctx, chip, password)
		if (err == nil) != try.opens {
			t.Fatalf("expiry %s: %v", try.expiry, err)
		}
		if err != nil {
			continue
		}
		dg14 := readForeign(t, sm, dg2)
		if sm, err = lds.ChipAuthentication(ctx, sm, dg14); err != nil {
			t.Fatal(err)
		}
		readForeign(t, sm, dg2)
	}
}

// A wrong password fails at the token that the chip checks.
func TestOurTerminalIsRefusedByAChipOfLibeac(t *testing.T) {
	dir, _ := foreignDocument(t, 2, 12, 2, "prime256v1")
	chip := startForeignChip(t, dir)
	wrong, err := lds.CAN("500541")
	if err != nil {
		t.Fatal(err)
	}
	_, infos, err := lds.ReadCardAccess(t.Context(), chip)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lds.OpenPACE(t.Context(), chip, wrong, infos); err == nil {
		t.Error("another CAN opens the chip")
	}
}
