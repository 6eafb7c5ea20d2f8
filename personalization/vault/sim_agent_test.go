package vault_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"cardbureau/hsm/simkeys"
	"cardbureau/personalization/vault"
	"cardbureau/personalization/vault/vaulttest"
)

// TestSIMThroughTheAgent goes through the intents on a provisioned token: what
// crosses the socket arrives, and errors keep their names.
func TestSIMThroughTheAgent(t *testing.T) {
	c, _ := vaulttest.Provisioned(t)
	ctx := t.Context()
	const iccid, batch, transport = "8998110000000000012", "1", "sim-transport/1"
	k, opc := []byte("KKKKKKKK11111111"), []byte("OOOOOOOO22222222")
	row, err := c.SealTestSIMKeys(ctx, transport, simkeys.AESGCM, vault.TestSIMKeys{ICCID: iccid, Batch: batch, K: bytes.Clone(k), OPc: bytes.Clone(opc)})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := c.SIMKeysIn(ctx, vault.SIMKeysInRequest{TransportKey: transport, Form: simkeys.AESGCM, Batch: batch, Rows: []vault.SIMKeyRow{row}})
	if err != nil || len(keys) != 1 || keys[0].ICCID != iccid {
		t.Fatal(err)
	}
	_, err = c.SIMKeysIn(ctx, vault.SIMKeysInRequest{TransportKey: transport, Form: simkeys.AESGCM, Batch: "2", Rows: []vault.SIMKeyRow{row}})
	if !errors.Is(err, vault.ErrSealed) || strings.Contains(err.Error(), string(k)) {
		t.Error(err)
	}
	v, err := c.SIMVector(ctx, vault.SIMVectorRequest{Keys: keys[0], RAND: make([]byte, 16), Session: []byte("s")})
	if err != nil || len(v.AUTN) != 16 || v.SQN != 1<<5|31 || len(v.Expected) == 0 {
		t.Fatalf("%+v %v", v, err)
	}
	if ok, err := c.SIMCheckRES(ctx, vault.SIMCheckRequest{Expected: v.Expected, ICCID: iccid, Session: []byte("s"), RES: make([]byte, 8)}); ok || err != nil {
		t.Error(ok, err)
	}
	if _, err := c.SIMResync(ctx, vault.SIMResyncRequest{Keys: keys[0], RAND: v.RAND, AUTS: make([]byte, 14)}); !errors.Is(err, vault.ErrAUTS) {
		t.Error(err)
	}
	if _, err := c.SIMProgram(ctx, vault.SIMProgramRequest{Keys: keys[0], Chip: iccid}); !errors.Is(err, vault.ErrRequest) {
		t.Error(err)
	}
	own, err := c.NewSIMKeys(ctx, iccid, batch, nil)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := c.SIMProgram(ctx, vault.SIMProgramRequest{Keys: own, Chip: iccid}); err != nil || len(plain.K) != 16 || len(plain.OPc) != 16 || plain.K.String() != "[redacted]" {
		t.Error(err)
	}
}
