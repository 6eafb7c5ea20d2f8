package vault_test

import (
	"bytes"
	"context"
	"testing"

	"golang.org/x/sys/unix"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/virtual"
	"cardbureau/personalization/vault"
	"cardbureau/personalization/vault/vaulttest"
)

func ownCPU(b *testing.B) int64 {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkCard does for one card what a line asks of the vault: seal the
// record, make the card's secrets, sign the SOD, open the image, two
// channels, 80 commands at level 33 with their answers, PUT KEY, enciphered
// secrets, the PIN for the proof. It reports the processor time of client and
// agent together, and the token operations.
func BenchmarkCard(b *testing.B) {
	c, _ := vaulttest.Provisioned(b)
	ctx := context.Background()
	record := bytes.Repeat([]byte{0x5A}, 20<<10)
	aad := []byte("record, sealed, row, person, version")
	hashes := map[int][]byte{}
	for _, n := range []int{1, 2, 11, 13, 14} {
		hashes[n] = make([]byte, 32)
	}
	names := []string{vault.SecretBAC, vault.SecretPACEMRZ, vault.SecretPACECAN, vault.SecretChipAuthentication, vault.SecretPIN, vault.SecretPUK}
	chip, serial := newBlank(b, c, 128, virtual.SCP03Full, map[string]func() virtual.Applet{virtual.LDSAID: func() virtual.Applet { return keeper{new([][]byte)} }})
	kdd := serial.Bytes()

	must := func(err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	var chipCPU int64
	session := func(key vault.DataKey, secrets []byte, commands []apdu.Command) {
		before := ownCPU(b)
		_, err := apdu.Must(ctx, chip, gp.SelectISDCommand())
		must(err)
		challenge, err := c.HostChallenge(ctx, gp.S8)
		must(err)
		iu, err := apdu.Must(ctx, chip, gp.InitializeUpdateCommand(0x30, challenge))
		must(err)
		chipCPU += ownCPU(b) - before
		ch, authenticate, err := c.OpenChannel(ctx, vault.ChannelRequest{
			KeySet: "cmk.acme/1", Diversification: vault.DiversifyKDF3, KeyBits: 128,
			HostChallenge: challenge, InitializeUpdate: iu, AID: gp.ISDAID, Level: gp.LevelFull,
		})
		must(err)
		defer ch.Close()
		if secrets != nil {
			_, err = ch.EncipherSecrets(ctx, key, aad, secrets, names)
			must(err)
			_, err = ch.PutKey(ctx, vault.PutKeyRequest{KeySet: vault.KeySetIssuer, Diversification: vault.DiversifyKDF3, KeyBits: 128, KeyVersion: 0x11, ReplacesVersion: 0x30, KeyDiversificationData: kdd[:]})
			must(err)
		}
		wrapped, err := ch.Wrap(ctx, commands)
		must(err)
		before = ownCPU(b)
		r, err := apdu.SendRaw(ctx, chip, authenticate)
		must(err)
		if !r.SW.OK() {
			b.Fatal(r.SW)
		}
		raw := make([][]byte, len(wrapped))
		for i, w := range wrapped {
			r, err := apdu.SendRaw(ctx, chip, w)
			must(err)
			raw[i] = r.Bytes()
		}
		chipCPU += ownCPU(b) - before
		_, err = ch.Unwrap(ctx, raw)
		must(err)
	}
	commands := []apdu.Command{gp.InstallForPersonalizationCommand(mustHex(b, virtual.LDSAID))}
	blocks, err := gp.StoreData([]gp.DGI{{ID: 0x0102, Value: record[:18_800]}}, gp.StoreDataOptions{MaxData: gp.MaxPlainData(gp.S8, gp.LevelFull, false)})
	must(err)
	// The blank keeps its transport keys, so that each round is alike.
	commands = append(commands, blocks...)
	if len(commands) != 80 {
		b.Fatalf("%d commands", len(commands))
	}
	start, err := c.Stats(ctx)
	must(err)
	own := ownCPU(b)
	b.ResetTimer()
	for b.Loop() {
		key, err := c.NewDataKey(ctx)
		must(err)
		_, err = c.PersonRef(ctx, "1234567890")
		must(err)
		sealed, err := c.Seal(ctx, key, aad, record)
		must(err)
		_, err = c.Open(ctx, key, aad, sealed)
		must(err)
		secrets, err := c.NewCardSecrets(ctx, vault.CardSecretsRequest{DataKey: key, AAD: aad, MRZInformation: "L898902C<369080619406236", CAN: "123456"})
		must(err)
		_, err = c.SignSOD(ctx, vault.SODRequest{Hashes: hashes})
		must(err)
		image, err := c.Seal(ctx, key, aad, record)
		must(err)
		_, err = c.Open(ctx, key, aad, image)
		must(err)
		session(key, secrets.Sealed, commands)
		session(key, nil, []apdu.Command{gp.GetDataCommand(gp.TagCPLC), gp.GetDataCommand(gp.TagKeyInformation)})
		_, err = c.TransportPIN(ctx, key, aad, secrets.Sealed)
		must(err)
	}
	b.StopTimer()
	own = ownCPU(b) - own - chipCPU
	end, err := c.Stats(ctx)
	must(err)
	var operations uint64
	for name, n := range end.Operations {
		operations += n - start.Operations[name]
	}
	n := float64(b.N)
	b.ReportMetric(float64(own)/n/1e6, "client-CPU-ms/card")
	b.ReportMetric(float64(end.CPU-start.CPU)/n/1e6, "agent-CPU-ms/card")
	b.ReportMetric(float64(operations)/n, "token-operations/card")
}
