package pairing_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"cardbureau/cardio/uicc"
	"cardbureau/cardio/virtual/nvm"
	"cardbureau/cardio/virtual/usim"
	profiles "cardbureau/firmware-profiles"
	"cardbureau/hsm/aka"
	"cardbureau/hsm/simkeys"
	"cardbureau/personalization/pairing"
	"cardbureau/personalization/pairing/lifecycle"
	"cardbureau/personalization/pairing/opfile"
	"cardbureau/personalization/profile"
	"cardbureau/personalization/vault"
)

// TestDelegatedBlank takes an operator's file in whose SIMs the bureau programs, with
// TUAK and keys over the air, writes a blank with what the agent gives out for it, and
// pairs it. The file, the store and what is printed hold none of its keys.
func TestDelegatedBlank(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	own := &pairing.OwnCentre{Store: d.Store, Vault: d.Vault, Forms: forms}
	d.Own = own
	s := newSIM(t, house.mci)
	s.tuak = &aka.TUAKParameters{MAC: 8, RES: 8, CK: 16, IK: 16, Iterations: 1}
	s.K, s.OPc = []byte("K of TUAK, which has 32 bytes ..."[:32]), []byte("TOPc of TUAK, it has 32 bytes ..")
	ota := map[string][]byte{}
	header := opfile.Header{
		Customer: "MCI", Type: "PLUG-IN", Profile: "gcm", Batch: "delegated", TransportKey: "sim-transport/1", TUAK: s.tuak, Programming: true,
		Variables: append([]string{"ICCID", "IMSI", "KEYS"}, simkeys.OTANames...),
	}
	for _, name := range simkeys.OTANames {
		ota[name] = []byte(name + " 12 bytes...")[:16]
	}
	clones := map[string][]byte{}
	for name, k := range ota {
		clones[name] = bytes.Clone(k)
	}
	r, err := d.Vault.SealTestSIMKeys(ctx, header.TransportKey, simkeys.AESGCM, vault.TestSIMKeys{
		ICCID: s.SIM.ICCID.Digits(), Batch: header.Batch, K: bytes.Clone(s.K), OPc: bytes.Clone(s.OPc), TUAK: s.tuak, OTA: clones, Delegated: true,
	})
	d.must(err)
	var file bytes.Buffer
	d.must(opfile.Write(&file, opfile.Output, header, []opfile.Row{{ICCID: s.SIM.ICCID.Digits(), IMSI: s.SIM.IMSI.Digits(), Keys: r.Sealed, OTA: r.OTA}}))
	_, _, err = own.Import(ctx, bytes.NewReader(file.Bytes()), house.clerk)
	d.must(err)
	keys, err := own.Keys(ctx, s.SIM.ICCID)
	d.must(err)

	mem := nvm.InMemory()
	chip, err := usim.New(usim.Config{Memory: mem, Profile: &usim.Profile{Kind: usim.DelegatedSJA5, ICCID: s.SIM.ICCID.Digits(), PIN1Disabled: true, SQN: 1 << 16, AgeLimit: 100}})
	d.must(err)
	card, err := uicc.Open(ctx, usim.Terminal{Card: chip})
	d.must(err)
	iccid, err := card.ICCID(ctx)
	d.must(err)
	p, err := d.Vault.SIMProgram(ctx, vault.SIMProgramRequest{Keys: keys, Chip: iccid})
	d.must(err)
	sub := uicc.Subscription{
		ICCID: iccid, IMSI: s.SIM.IMSI.Digits(), MNCDigits: 2, ACC: 1, K: uicc.Secret(p.K), OPc: uicc.Secret(p.OPc), OTA: map[string]uicc.Secret{},
		TUAK: &uicc.TUAKParameters{MAC: p.TUAK.MAC, RES: p.TUAK.RES, Keys: p.TUAK.CK, Iterations: p.TUAK.Iterations},
	}
	for name, k := range p.OTA {
		sub.OTA[name] = uicc.Secret(k)
	}
	set, err := profile.Load(profiles.FS)
	d.must(err)
	_, refused := card.Program(ctx, set.SIMs["sysmocom-sja2"], []byte("88888888"), sub)
	if refused == nil || !strings.Contains(refused.Error(), "cannot authenticate by TUAK") {
		t.Errorf("as an SJA2: %v", refused)
	}
	done, err := card.Program(ctx, set.SIMs["sysmocom-sja5"], []byte("88888888"), sub)
	if err != nil || done.OTA != len(ota) {
		t.Fatalf("%+v, %v", done, err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("programmed", "subscription", sub, "program", p, "done", done)
	printed := fmt.Sprintf("%v %+v %#v %v %+v %v %s", sub, sub, sub, p, p, refused, log.String())
	for name, k := range ota {
		onChip := false
		for _, v := range mem.Dump() {
			onChip = onChip || bytes.Contains(v, k)
		}
		if !onChip {
			t.Errorf("%s is not on the chip", name)
		}
		for place, b := range map[string][]byte{"the file": file.Bytes(), "the store": keys.Wrapped, "what is printed": []byte(printed)} {
			if bytes.Contains(b, k) || bytes.Contains(bytes.ToLower(b), fmt.Appendf(nil, "%x", k)) {
				t.Errorf("%s is in %s", name, place)
			}
		}
	}
	for n, resynced := range []bool{true, false} {
		q := d.request(d.card(), newHolder(t), s, house.mci, 7_000_000+n)
		q.SIM, q.Own = pairing.CardSIM(card), true
		out, err := d.Run(ctx, q)
		if err != nil || out.State != lifecycle.Active || out.Resynced != resynced {
			t.Fatalf("%+v, %v", out, err)
		}
		d.must(d.Revoke(ctx, out.ID, "test", house.clerk))
	}
}
