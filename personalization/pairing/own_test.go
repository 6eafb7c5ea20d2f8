package pairing_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"cardbureau/hsm/aka"
	"cardbureau/hsm/simkeys"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/lifecycle"
	"cardbureau/personalization/pairing/opfile"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// forms are the profiles of the tests' files.
var forms = map[string]simkeys.Form{"gcm": simkeys.AESGCM, "ecb": simkeys.AESECB, "cbc": simkeys.AESCBC, "des": simkeys.DES3ECB}

// vendorFile is an output file of SIMs under the development transport key.
func (d *desk) vendorFile(profile, batch string, sims ...*sim) []byte {
	d.t.Helper()
	form := forms[profile]
	h := opfile.Header{Customer: "MCI", Type: "PLUG-IN", Profile: profile, Batch: batch, TransportKey: "sim-transport/1", Variables: []string{"ICCID", "IMSI", "PIN1", "ADM1", "KI", "OPC"}}
	if form.DES3() {
		h.TransportKey = "sim-transport-des/1"
	}
	var iv []byte
	h.TUAK = sims[0].tuak
	if h.TUAK != nil {
		h.Variables[5] = "TOPC"
	}
	switch form {
	case simkeys.AESGCM:
		h.Variables = []string{"ICCID", "IMSI", "KEYS"}
	case simkeys.AESCBC:
		h.Variables, iv = append(h.Variables, "IV"), bytes.Repeat([]byte{7}, 16)
	}
	var rows []opfile.Row
	for _, s := range sims {
		r, err := d.Vault.SealTestSIMKeys(d.t.Context(), h.TransportKey, form, vault.TestSIMKeys{ICCID: s.SIM.ICCID.Digits(), Batch: batch, K: slices.Clone(s.K), OPc: slices.Clone(s.OPc), IV: iv, TUAK: s.tuak})
		d.must(err)
		rows = append(rows, opfile.Row{ICCID: s.SIM.ICCID.Digits(), IMSI: s.SIM.IMSI.Digits(), PIN1: []byte("0000"), ADM1: []byte("12345678"), Keys: r.Sealed, KI: r.K, OPC: r.OPc, IV: iv})
	}
	var b bytes.Buffer
	d.must(opfile.Write(&b, opfile.Output, h, rows))
	return b.Bytes()
}

// TestOwnCentre: SIMs whose keys came in a vendor's file, in each form, are challenged
// by the token, resynchronized once, and paired; a file counts once.
func TestOwnCentre(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	own := &pairing.OwnCentre{Store: d.Store, Vault: d.Vault, Forms: forms}
	d.Own = own
	n := 4_000_000
	for profile := range forms {
		s, other := newSIM(t, house.mci), newSIM(t, house.mci)
		file := d.vendorFile(profile, "batch "+profile, s, other)
		for _, want := range []bool{false, true} {
			if summary, already, err := own.Import(ctx, bytes.NewReader(file), house.clerk); err != nil || already != want || summary.Header.Quantity != 2 {
				t.Fatalf("%s: %v, %v", profile, already, err)
			}
		}
		if profile == "gcm" { // the SIM has seen higher numbers elsewhere
			for i := range aka.SQN(40) {
				s.window.Accept(aka.SQN(1<<20) + i*33)
			}
		}
		n++
		r := d.request(d.card(), newHolder(t), s, house.mci, n)
		r.Own = true
		out, err := d.Run(ctx, r)
		if err != nil || out.State != lifecycle.Active || out.Resynced != (profile == "gcm") {
			t.Errorf("%s: %+v, %v", profile, out, err)
		}
		// A SIM with other keys than the file says.
		other.K = slices.Clone(other.K)
		other.K[3] ^= 1
		n++
		r = d.request(d.card(), newHolder(t), other, house.mci, n)
		r.Own = true
		if out, err := d.Run(ctx, r); !errors.Is(err, errMAC) {
			t.Errorf("%s, another key: %+v, %v", profile, out, err)
		}
	}
	// A SIM that answers what it likes.
	liar := newSIM(t, house.mci)
	_, _, err := own.Import(ctx, bytes.NewReader(d.vendorFile("gcm", "liars", liar)), house.clerk)
	d.must(err)
	r := d.request(d.card(), newHolder(t), liar, house.mci, n+1)
	r.Own, r.SIM = true, &lying{liar}
	out, err := d.Run(ctx, r)
	if !errors.Is(err, pairing.ErrResponse) {
		t.Errorf("a wrong response: %v", err)
	}
	d.nothing(r.Card, out, house.mci, lifecycle.Revoked, "sim-response")
	r = d.request(d.card(), newHolder(t), newSIM(t, house.mci), house.mci, n+2)
	r.Own = true
	out, err = d.Run(ctx, r)
	if !errors.Is(err, pairing.ErrNotOwn) {
		t.Errorf("a SIM of the operator's own: %v", err)
	}
	d.nothing(r.Card, out, house.mci, lifecycle.Revoked, "no-sim-keys")
}

// lying is a SIM whose response is wrong.
type lying struct{ *sim }

func (l *lying) Authenticate(ctx context.Context, rand, autn [16]byte) (pairing.Answer, error) {
	a, err := l.sim.Authenticate(ctx, rand, autn)
	if len(a.RES) > 0 {
		a.RES[0] ^= 1
	}
	return a, err
}

// TestBadBatches: a file with a key of another SIM, another content of the same batch,
// a known SIM or an unknown profile is refused, whole.
func TestBadBatches(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	own := &pairing.OwnCentre{Store: d.Store, Vault: d.Vault, Forms: forms}
	a, b, c := newSIM(t, house.mci), newSIM(t, house.mci), newSIM(t, house.mci)
	file := d.vendorFile("gcm", "bad", a, b)
	lines := bytes.Split(file, []byte("\n"))
	swapped := bytes.ReplaceAll(file, lines[7][36:], lines[8][36:])
	for name, tc := range map[string]struct {
		file []byte
		want error
	}{
		"a key of another SIM": {swapped, vault.ErrSealed},
		"an unknown profile":   {bytes.Replace(file, []byte("Profile: gcm"), []byte("Profile: rot13"), 1), opfile.ErrFile},
		"another batch":        {bytes.Replace(file, []byte("Batch: bad"), []byte("Batch: good"), 1), vault.ErrSealed},
		"another key":          {bytes.Replace(file, []byte("sim-transport/1"), []byte("kek.mailer/1"), 1), vault.ErrRequest},
		"no key":               {bytes.Replace(file, []byte("sim-transport/1"), []byte("sim-transport/9"), 1), vault.ErrNoKey},
		"a malformed line":     {file[:len(file)-3], opfile.ErrFile},
	} {
		if _, _, err := own.Import(ctx, bytes.NewReader(tc.file), house.clerk); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if _, err := own.Keys(ctx, a.SIM.ICCID); !errors.Is(err, pairing.ErrNotOwn) {
		t.Errorf("a refused file left a key behind: %v", err)
	}
	_, _, err := own.Import(ctx, bytes.NewReader(file), house.clerk)
	d.must(err)
	if _, _, err := own.Import(ctx, bytes.NewReader(d.vendorFile("gcm", "bad", a, c)), house.clerk); !errors.Is(err, store.ErrBatchDiffers) {
		t.Errorf("other content: %v", err)
	}
	if _, _, err := own.Import(ctx, bytes.NewReader(d.vendorFile("gcm", "second", c, a)), house.clerk); !errors.Is(err, store.ErrSIMKnown) {
		t.Errorf("a known SIM: %v", err)
	}
	// Blanks that the bureau programs itself.
	for _, want := range []bool{false, true} {
		if already, err := own.Register(ctx, "blanks", []pairing.ICCID{c.SIM.ICCID}, nil, house.clerk); err != nil || already != want {
			t.Errorf("registered: %v, %v", already, err)
		}
	}
	keys, err := own.Keys(ctx, c.SIM.ICCID)
	d.must(err)
	program, err := d.Vault.SIMProgram(ctx, vault.SIMProgramRequest{Keys: keys, Chip: c.SIM.ICCID.Digits()})
	if err != nil || len(program.K) != 16 || len(program.OPc) != 16 || strings.Contains(string(keys.Wrapped), string(program.K)) {
		t.Errorf("a key of %d bytes to program, %v", len(program.K), err)
	}
}
