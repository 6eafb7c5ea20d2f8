package vault

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"cardbureau/hsm"
	"cardbureau/hsm/softhsm"
	"cardbureau/personalization/identity"
)

// newService serves a fresh SoftHSM token in this process, for tests that
// turn its clock.
func newService(t *testing.T) *Service {
	t.Helper()
	soft, err := softhsm.Ensure(t.Context(), t.TempDir(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	pin, err := hsm.ReadPIN(soft.PINPath())
	if err != nil {
		t.Fatal(err)
	}
	token, err := hsm.Open(t.Context(), hsm.Config{Module: soft.Module, Label: soft.Label, PIN: pin})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { token.Close() })
	return NewService(token, filepath.Join(soft.Dir, "keys.lock"))
}

// TestTimePasses takes a token through months: KEKs come with their month, the
// document signer gets a successor, and what was sealed still opens.
func TestTimePasses(t *testing.T) {
	s := newService(t)
	ctx := context.Background()
	start := time.Date(2025, 11, 20, 12, 0, 0, 0, time.UTC)
	now := start
	s.now = func() time.Time { return now }
	request := &ProvisionRequest{Development: true, State: "UTO"}
	first, err := s.provision(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	hashes := &SODRequest{Hashes: map[int][]byte{1: make([]byte, 32), 2: make([]byte, 32)}}
	if _, err := s.signSOD(ctx, hashes); err != nil {
		t.Fatal(err)
	}
	old, err := s.newDataKey(ctx, &nothing{})
	if err != nil || old.Epoch != "2025-11" {
		t.Fatalf("epoch %q, %v", old.Epoch, err)
	}
	sealed, err := s.seal(ctx, &sealRequest{Items: []SealItem{{DataKey: *old, Data: []byte("x")}}})
	if err != nil {
		t.Fatal(err)
	}
	now = start.AddDate(0, 1, 0)
	key, err := s.newDataKey(ctx, &nothing{})
	if err != nil || key.Epoch != "2025-12" {
		t.Errorf("epoch %q, %v", key.Epoch, err)
	}
	opened, err := s.open(ctx, &sealRequest{Items: []SealItem{{DataKey: *old, Data: sealed.Pieces[0]}}})
	if err != nil || string(opened.Pieces[0]) != "x" {
		t.Errorf("a month later: %v", err)
	}
	second, err := s.provision(ctx, request)
	if err != nil || !bytes.Equal(first.DocumentSigner, second.DocumentSigner) {
		t.Errorf("a month later the document signer is another: %v", err)
	}
	now = start.AddDate(0, 3, 1)
	if _, err := s.signSOD(ctx, hashes); err == nil {
		t.Error("signed after the end of the signer's use")
	}
	third, err := s.provision(ctx, request)
	if err != nil || bytes.Equal(first.DocumentSigner, third.DocumentSigner) || !bytes.Equal(first.CSCA, third.CSCA) {
		t.Errorf("after three months: %v", err)
	}
	if _, err := s.signSOD(ctx, hashes); err != nil {
		t.Errorf("with the successor: %v", err)
	}
	c, err := identity.ParseCertificate(third.DocumentSigner)
	if err != nil || c.CommonName != "Document Signer UTO 2" {
		t.Errorf("the successor is %q, %v", c.CommonName, err)
	}
	other := *request
	other.State, other.Country = "IRN", "IR"
	if _, err := s.provision(ctx, &other); !errors.Is(err, ErrRequest) {
		t.Errorf("another state's token: %v", err)
	}
	// The epoch's key is destroyed: what it protected cannot be opened again
	// once no key of it is open any more.
	l, err := roleLabel(RolePersonalData, "2025-11")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.token.Destroy(ctx, l); err != nil {
		t.Fatal(err)
	}
	s.openKeys.expire()
	if _, err := s.open(ctx, &sealRequest{Items: []SealItem{{DataKey: *old, Data: sealed.Pieces[0]}}}); !errors.Is(err, ErrNoKey) {
		t.Errorf("a destroyed epoch: %v", err)
	}
}

// TestDataKeysAreLimited unwraps more data keys than stay open.
func TestDataKeysAreLimited(t *testing.T) {
	s := newService(t)
	ctx := context.Background()
	if _, err := s.provision(ctx, &ProvisionRequest{Development: true, State: "UTO"}); err != nil {
		t.Fatal(err)
	}
	var items []SealItem
	for range maxOpenKeys + 10 {
		k, err := s.newDataKey(ctx, &nothing{})
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, SealItem{DataKey: *k, Data: []byte("x")})
	}
	out, err := s.seal(ctx, &sealRequest{Items: items})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.openKeys.keys); n != maxOpenKeys {
		t.Errorf("%d data keys are open", n)
	}
	for i := range items {
		items[i].Data = out.Pieces[i]
	}
	if _, err := s.open(ctx, &sealRequest{Items: items}); err != nil {
		t.Error(err)
	}
	s.openKeys.expire()
	if n := len(s.openKeys.keys); n != 0 {
		t.Errorf("%d data keys are open after their time", n)
	}
}

// expire lets every open key's time be over.
func (c *keyCache) expire() {
	c.mu.Lock()
	for _, k := range c.keys {
		k.since = k.since.Add(-openKeyLife)
	}
	c.mu.Unlock()
	c.sweep()
}

func TestIdleChannelsAreSwept(t *testing.T) {
	var table channelTable
	start := time.Now()
	for i := range maxChannels {
		table.add(&heldChannel{}, start.Add(time.Duration(i)*time.Second))
	}
	if idle, full := table.sweep(start); len(idle) != 0 || !full {
		t.Errorf("%d idle, full %v", len(idle), full)
	}
	if _, err := table.get(1, start.Add(idleLimit)); err != nil {
		t.Error(err)
	}
	idle, full := table.sweep(start.Add(idleLimit + 10*time.Second))
	if len(idle) != 9 || full || table.count() != maxChannels-9 {
		t.Errorf("%d idle, full %v, %d left", len(idle), full, table.count())
	}
	if _, err := table.get(2, start); !errors.Is(err, ErrChannelGone) {
		t.Errorf("a swept channel: %v", err)
	}
}

// TestOpenSSLAcceptsTheSOD: the signature only, since OpenSSL refuses explicit
// curve parameters in a chain.
func TestOpenSSLAcceptsTheSOD(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	s := newService(t)
	ctx := context.Background()
	if _, err := s.provision(ctx, &ProvisionRequest{Development: true, State: "UTO"}); err != nil {
		t.Fatal(err)
	}
	sod, err := s.signSOD(ctx, &SODRequest{Hashes: map[int][]byte{1: make([]byte, 32), 2: make([]byte, 32), 14: make([]byte, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	// 77 82 LL LL: the file's tag; the CMS is inside.
	if sod.Data[0] != 0x77 || sod.Data[1] != 0x82 {
		t.Fatalf("the file begins with %X", sod.Data[:4])
	}
	path := filepath.Join(t.TempDir(), "sod.der")
	if err := os.WriteFile(path, sod.Data[4:], 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(openssl, "cms", "-verify", "-noverify", "-inform", "DER", "-in", path, "-out", os.DevNull).CombinedOutput()
	if err != nil {
		t.Errorf("openssl: %v\n%s", err, out)
	}
}
