package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/virtual"
	"cardbureau/personalization/vault"
	"cardbureau/personalization/vault/vaulttest"
)

// TestKilledAgent kills the agent between and during the calls of a card: the
// caller learns it, a fresh agent answers, and no channel comes back.
func TestKilledAgent(t *testing.T) {
	c, _ := vaulttest.Provisioned(t)
	ctx := t.Context()
	chip, _ := newBlank(t, c, 128, virtual.SCP03Full, map[string]func() virtual.Applet{virtual.LDSAID: func() virtual.Applet { return keeper{new([][]byte)} }})
	kill := func() { killAgent(t, c) }
	// After the kill a call meets the dying agent (ErrAgentGone) or the next.
	next := func() {
		t.Helper()
		for {
			_, err := c.PersonRef(ctx, "1")
			if err == nil {
				return
			}
			if !errors.Is(err, vault.ErrAgentGone) {
				t.Fatalf("the next agent: %v", err)
			}
		}
	}
	ch, err := open(t, c, chip, "cmk.acme/1", 0x30, 128, gp.S8, gp.LevelFull)
	if err != nil {
		t.Fatal(err)
	}
	command := []apdu.Command{gp.GetDataCommand(gp.TagCPLC)}
	transact(t, ch, chip, command)
	kill()
	for range 2 {
		if _, err := ch.Wrap(ctx, command); !errors.Is(err, vault.ErrChannelGone) {
			t.Errorf("a channel of the killed agent: %v", err)
		}
	}
	next()
	if _, err := ch.Unwrap(ctx, nil); !errors.Is(err, vault.ErrChannelGone) {
		t.Errorf("a channel of the killed agent, with the next one running: %v", err)
	}
	ch.Close()
	ch.Close()
	if ch, err = open(t, c, chip, "cmk.acme/1", 0x30, 128, gp.S8, gp.LevelFull); err != nil {
		t.Fatalf("a channel of the next agent: %v", err)
	}
	transact(t, ch, chip, command)

	// In the middle of calls: each ends with an error that says so, or well.
	batch := make([]apdu.Command, 300)
	for i := range batch {
		batch[i] = apdu.Command{CLA: 0x80, INS: 0xE2, Data: bytes.Repeat([]byte{1}, 200)}
	}
	errs := make(chan error, 1)
	underWay := make(chan struct{}, 1) // a call has ended well, and the next one begins
	tell := func() {
		select {
		case underWay <- struct{}{}:
		default:
		}
	}
	go func() {
		var err error
		for err == nil {
			if _, err = ch.Wrap(context.Background(), batch); err == nil {
				tell()
			}
		}
		errs <- err
	}()
	<-underWay
	kill()
	if err := <-errs; !errors.Is(err, vault.ErrChannelGone) {
		t.Errorf("a channel whose agent is killed in a call: %v", err)
	}
	next()
	key, err := c.NewDataKey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := c.Seal(ctx, key, nil, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		var err error
		for err == nil {
			if _, err = c.Open(context.Background(), key, nil, sealed); err == nil {
				tell()
			}
		}
		errs <- err
	}()
	// A kill between two calls goes unnoticed: the second waits for the next
	// agent. So it is done until one is hit.
	for hit := false; !hit; {
		select {
		case <-underWay:
			kill()
		case err := <-errs:
			hit = true
			if !errors.Is(err, vault.ErrAgentGone) {
				t.Errorf("a call in which the agent is killed: %v", err)
			}
		}
	}
	next()
	if plain, err := c.Open(ctx, key, nil, sealed); err != nil || string(plain) != "x" {
		t.Errorf("what was sealed before: %q, %v", plain, err)
	}
}

// killAgent kills the agent that runs now, if one does.
func killAgent(t *testing.T, c *vault.Client) {
	t.Helper()
	pid := c.PID()
	if pid == 0 { // between two agents; 0 would mean our own process group
		return
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}

// TestSharedToken has two agents use one token folder at the same time,
// beginning with its making.
func TestSharedToken(t *testing.T) {
	dir := t.TempDir()
	ctx := t.Context()
	var wg sync.WaitGroup
	clients := make([]*vault.Client, 2)
	provisioned := make([]vault.Provisioned, 2)
	for i := range clients {
		wg.Go(func() {
			var err error
			if clients[i], err = vault.Start(ctx, vaulttest.Options(t, dir)); err != nil {
				t.Error(err)
				return
			}
			if provisioned[i], err = clients[i].Provision(ctx, vaulttest.Development); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, c := range clients {
		if c == nil {
			t.FailNow()
		}
		defer c.Close()
	}
	if !bytes.Equal(provisioned[0].CSCA, provisioned[1].CSCA) || !bytes.Equal(provisioned[0].DocumentSigner, provisioned[1].DocumentSigner) {
		t.Error("two agents made two sets of certificates")
	}
	keys, err := clients[0].Keys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, k := range keys {
		if seen[k.Label] {
			t.Errorf("%s was made twice", k.Label)
		}
		seen[k.Label] = true
	}
	for i, c := range clients {
		other := clients[1-i]
		wg.Go(func() {
			for n := range 20 {
				key, err := c.NewDataKey(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				text := fmt.Sprint(i, n)
				sealed, err := c.Seal(ctx, key, nil, []byte(text))
				if err != nil {
					t.Error(err)
					return
				}
				if plain, err := other.Open(ctx, key, nil, sealed); err != nil || string(plain) != text {
					t.Errorf("sealed by one, opened by the other: %q, %v", plain, err)
				}
			}
		})
	}
	wg.Wait()
	a, errA := clients[0].PersonRef(ctx, "42")
	b, errB := clients[1].PersonRef(ctx, "42")
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("two agents give two pseudonyms: %v, %v", errA, errB)
	}
}

func TestStartErrors(t *testing.T) {
	dir := t.TempDir()
	c := vaulttest.StartIn(t, dir)
	c.Close()
	pinPath := filepath.Join(dir, "pin")
	good, err := os.ReadFile(pinPath)
	if err != nil {
		t.Fatal(err)
	}
	pin := strings.TrimSpace(string(good))
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("99999999\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := errors.Join(os.WriteFile(open, good, 0o600), os.Chmod(open, 0o644)); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		want error
		text string
	}{
		"module missing":    {[]string{"--module", "/usr/lib/no/such.so"}, vault.ErrModule, "/usr/lib/no/such.so"},
		"not a module":      {[]string{"--module", "/etc/hostname"}, vault.ErrModule, "is not a PKCS#11 module"},
		"wrong PIN":         {[]string{"--pin-file", wrong}, vault.ErrPIN, "refuses the PIN"},
		"PIN file open":     {[]string{"--pin-file", open}, vault.ErrPIN, "chmod 600"},
		"PIN file missing":  {[]string{"--pin-file", "/nonexistent/pin"}, vault.ErrPIN, "/nonexistent/pin"},
		"PIN variable":      {[]string{"--pin-env", "CB_NO_SUCH_PIN"}, vault.ErrPIN, "CB_NO_SUCH_PIN"},
		"no such token":     {[]string{"--token-label", "other"}, vault.ErrToken, `no token "other"`},
		"unknown argument":  {[]string{"more"}, vault.ErrRequest, `"more"`},
		"needed capability": {[]string{"--without", "AES-CMAC"}, vault.ErrModule, "AES-CMAC"},
	} {
		var lines []string
		o := vaulttest.Options(t, dir, tc.args...)
		o.Log = func(l string) { lines = append(lines, l) }
		c, err := vault.Start(t.Context(), o)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, tc.want) || !strings.Contains(fmt.Sprint(err), tc.text) || strings.Contains(fmt.Sprint(err), "\n") {
			t.Errorf("%s: %v", name, err)
		}
		if all := fmt.Sprint(err, lines); strings.Contains(all, pin) || strings.Contains(all, "99999999") {
			t.Errorf("%s: a PIN is printed: %s", name, all)
		}
	}
	o := vaulttest.Options(t, dir, "--pin-env", "CB_TEST_PIN")
	o.Env = append(o.Env, "CB_TEST_PIN="+pin)
	if c, err = vault.Start(t.Context(), o); err != nil {
		t.Errorf("the PIN from the environment: %v", err)
	} else {
		c.Close()
	}
}

// TestChangedPINEndsRestarts kills an agent after the PIN file has changed: the
// next one fails once, and nobody tries again.
func TestChangedPINEndsRestarts(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	var lines []string
	o := vaulttest.Options(t, dir)
	o.Log = func(l string) { mu.Lock(); lines = append(lines, l); mu.Unlock() }
	c, err := vault.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := os.WriteFile(filepath.Join(dir, "pin"), []byte("99999999\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	killAgent(t, c)
	for range 3 {
		_, err := c.Keys(t.Context())
		for errors.Is(err, vault.ErrAgentGone) {
			_, err = c.Keys(t.Context())
		}
		if !errors.Is(err, vault.ErrAgentUnavailable) || !errors.Is(err, vault.ErrPIN) {
			t.Errorf("got %v", err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	refusals := 0
	for _, l := range lines {
		if strings.Contains(l, "refuses the PIN") {
			refusals++
		}
	}
	if refusals != 1 {
		t.Errorf("the PIN was refused %d times: %q", refusals, lines)
	}
}

// TestHalfMadeToken leaves a token as a killed process would.
func TestHalfMadeToken(t *testing.T) {
	dir := t.TempDir()
	c := vaulttest.StartIn(t, dir)
	c.Close()
	if err := errors.Join(os.Remove(filepath.Join(dir, "complete")), os.Remove(filepath.Join(dir, "so-pin"))); err != nil {
		t.Fatal(err)
	}
	c = vaulttest.StartIn(t, dir)
	if _, err := c.Provision(t.Context(), vaulttest.Development); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"pin", "so-pin", "softhsm2.conf"} {
		if info, err := os.Stat(filepath.Join(dir, f)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info, err)
		}
	}
}

func TestCancelledCall(t *testing.T) {
	c, _ := vaulttest.Provisioned(t)
	chip, _ := newBlank(t, c, 128, virtual.SCP03Full, map[string]func() virtual.Applet{virtual.LDSAID: func() virtual.Applet { return keeper{new([][]byte)} }})
	ch, err := open(t, c, chip, "cmk.acme/1", 0x30, 128, gp.S8, gp.LevelFull)
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.PersonRef(ctx, "1"); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call: %v", err)
	}
	if _, err := c.PersonRef(t.Context(), "1"); err != nil {
		t.Errorf("the one after: %v", err)
	}
	// Whether the agent wrapped is not known: the session is over.
	command := []apdu.Command{gp.GetDataCommand(gp.TagCPLC)}
	if _, err := ch.Wrap(ctx, command); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled Wrap: %v", err)
	}
	if _, err := ch.Wrap(t.Context(), command); !errors.Is(err, vault.ErrChannelGone) {
		t.Errorf("the one after: %v", err)
	}
	ch.Close()
	if s, err := c.Stats(t.Context()); err != nil || s.OpenChannels != 0 {
		t.Errorf("%d channels are left open, %v", s.OpenChannels, err)
	}
}

// TestNothingSecretIsPrinted searches everything that an agent and the errors
// of a card's calls print.
func TestNothingSecretIsPrinted(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	var printed bytes.Buffer
	o := vaulttest.Options(t, dir)
	o.Log = func(l string) { mu.Lock(); printed.WriteString(l + "\n"); mu.Unlock() }
	c, err := vault.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	if _, err := c.Provision(ctx, vaulttest.Development); err != nil {
		t.Fatal(err)
	}
	key, err := c.NewDataKey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const mrz, can, id, photo = "S3CR3TNUM69080619406236X", "735519", "9988776655", "the photo's bytes"
	note := func(err error) {
		if err != nil {
			mu.Lock()
			printed.WriteString(err.Error() + "\n")
			mu.Unlock()
		}
	}
	secrets, err := c.NewCardSecrets(ctx, vault.CardSecretsRequest{DataKey: key, AAD: []byte("a"), MRZInformation: mrz, CAN: can})
	note(err)
	_, err = c.NewCardSecrets(ctx, vault.CardSecretsRequest{DataKey: key, MRZInformation: mrz, CAN: can + "1"})
	note(err)
	_, err = c.NewCardSecrets(ctx, vault.CardSecretsRequest{MRZInformation: mrz, CAN: can})
	note(err)
	pin, err := c.TransportPIN(ctx, key, []byte("a"), secrets.Sealed)
	note(err)
	_, err = c.TransportPIN(ctx, key, []byte("b"), secrets.Sealed)
	note(err)
	_, err = c.PersonRef(ctx, id)
	note(err)
	_, err = c.Seal(ctx, vault.DataKey{Epoch: "x", Wrapped: []byte(id)}, nil, []byte(photo))
	note(err)
	_, err = c.OpenJWE(ctx, photo+"."+id)
	note(err)
	_, err = c.SignSOD(ctx, vault.SODRequest{Hashes: map[int][]byte{1: []byte(photo)}})
	note(err)
	_, _, err = c.OpenChannel(ctx, vault.ChannelRequest{KeySet: "cmk.acme/1", Diversification: vault.DiversifyKDF3, KeyBits: 128, InitializeUpdate: []byte(photo)})
	note(err)
	killAgent(t, c)
	_, err = c.PersonRef(ctx, id)
	note(err)
	c.Close()
	tokenPIN, err := os.ReadFile(filepath.Join(dir, "pin"))
	if err != nil {
		t.Fatal(err)
	}
	if printed.Len() == 0 || len(pin) != 6 {
		t.Fatalf("nothing was printed, or there is no PIN (%d digits)", len(pin))
	}
	for _, s := range []string{mrz, can, id, photo, string(pin), strings.TrimSpace(string(tokenPIN))} {
		if strings.Contains(printed.String(), s) {
			t.Errorf("a secret was printed:\n%s", printed.String())
		}
	}
}
