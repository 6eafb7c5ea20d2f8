package vault

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"cardbureau/hsm"
	"cardbureau/hsm/tr31"
)

// The blocks of TR-31:2018, annexes A.7.2.2 and A.7.4, with their protection keys; both
// hold the key 3f41….
const (
	kbpkB  = "dd7515f2bfc17f85ce48f3ca25cb21f6"
	blockB = "B0080P0TE00E000094B420079CC80BA3461F86FE26EFC4A3B8E4FA4C5F5341176EED7B727B8A248E"
	kbpkD  = "88e1ab2a2e3dd38c1fa039a536500cc8a87ab9d62dc92c01058fa79f44657de6"
	blockD = "D0112P0AE00E0000B82679114F470F540165EDFBF7E250FCEA43F810D215F8D207E2E417C07156A27E8E31DA05F7425509593D03A457DC34"
)

// kcvOf is the check value of a key whose value a test knows.
func kcvOf(t *testing.T, algorithm byte, key string) string {
	t.Helper()
	kcv, err := exchanged{algorithm: algorithm}.kcv(bytesOf(t, key))
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(kcv)
}

// TestKeyExchange brings the protection keys of the standard's examples in by components
// and opens its blocks with them inside the token.
func TestKeyExchange(t *testing.T) {
	ctx := t.Context()
	s := exchangeService(t)
	for _, k := range []struct {
		role, kbpk string
		algorithm  byte
	}{{"kek.bank-des", kbpkB, 'T'}, {"kek.bank", kbpkD, 'A'}} {
		got, err := s.importComponents(ctx, components(t, k.role, "1", k.kbpk, kcvOf(t, k.algorithm, k.kbpk)))
		if err != nil || hex.EncodeToString(got.KCV) != kcvOf(t, k.algorithm, k.kbpk) || got.Label != "cb/"+k.role+"/1" {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	const key = "3f419e1cb7079442aa37474c2efbf8b8"
	in := &BlockRequest{Role: RoleZPK, Version: "1", KEK: "kek.bank-des/1", Block: blockB, KCV: bytesOf(t, kcvOf(t, 'T', key)), Development: true}
	got, err := s.keyBlock(ctx, in)
	if err != nil || hex.EncodeToString(got.KCV) != kcvOf(t, 'T', key) {
		t.Fatalf("%+v, %v", got, err)
	}
	all, err := s.token.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range all {
		if !k.Sensitive || k.Extractable || !k.Development {
			t.Errorf("%s: sensitive %v, extractable %v, development %v", k.Label, k.Sensitive, k.Extractable, k.Development)
		}
		if k.Label == "cb/zpk/1" && k.KCV != kcvOf(t, 'T', key) {
			t.Errorf("the token has a zone key with the check value %s", k.KCV)
		}
	}

	// What is refused leaves nothing behind.
	altered := strings.Replace(blockB, "P0", "E0", 1)
	for name, c := range map[string]struct {
		in   BlockRequest
		want error
	}{
		"twice":               {*in, ErrKeyPresent},
		"for something else":  {BlockRequest{Role: RoleIMKAC, Version: "1", KEK: "kek.bank-des/1", Block: blockB}, ErrKeyUsage},
		"another algorithm":   {BlockRequest{Role: RoleZPK, Version: "1", KEK: "kek.bank/1", Block: blockD}, ErrKeyUsage},
		"altered":             {BlockRequest{Role: RoleIMKAC, Version: "1", KEK: "kek.bank-des/1", Block: altered}, ErrKeyBlock},
		"another version":     {BlockRequest{Role: RoleZPK, Version: "1", KEK: "kek.bank-des/1", Block: "A" + blockB[1:]}, ErrKeyBlock},
		"another key":         {BlockRequest{Role: RoleZPK, Version: "1", KEK: "kek.bank/1", Block: blockB}, ErrKeyBlock},
		"no key block":        {BlockRequest{Role: RoleZPK, Version: "1", KEK: "kek.bank/1", Block: "hello"}, ErrKeyBlock},
		"no protection key":   {BlockRequest{Role: RoleZPK, Version: "1", KEK: "kek.bank/7", Block: blockB}, ErrRequest},
		"another role's key":  {BlockRequest{Role: RoleZPK, Version: "1", KEK: "zpk/1", Block: blockB}, ErrRequest},
		"a role made here":    {BlockRequest{Role: RoleCSCA, Version: "1", KEK: "kek.bank/1", Block: blockB}, ErrRequest},
		"no version at all":   {BlockRequest{Role: RoleZPK, Version: "2/3", KEK: "kek.bank-des/1", Block: blockB}, ErrRequest},
		"AES under 3DES":      {BlockRequest{Role: RoleBankKEK, Version: "2", KEK: "kek.bank-des/1"}, ErrRequest},
		"other purpose":       {BlockRequest{Role: RolePVK, Version: "1", KEK: "kek.bank/1"}, ErrDevelopment},
		"another check value": {BlockRequest{Role: RoleZPK, Version: "1", KEK: "kek.bank-des/1", Block: blockB, KCV: []byte{1, 2, 3}}, ErrKCV},
	} {
		c.in.Development = name != "other purpose"
		if _, err := s.keyBlock(ctx, &c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.madeForBank(t)
}

// wrapped is a key block as the bank makes it under the standard's AES key.
func (s *Service) wrapped(t *testing.T, kek string, h tr31.Header, key []byte) string {
	t.Helper()
	p, err := s.protection(t.Context(), kek)
	if err != nil {
		t.Fatal(err)
	}
	h.Version = 'B'
	if p.AES {
		h.Version = 'D'
	}
	block, err := tr31.Wrap(p, h, key, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// TestBlockUse computes a card verification value with a key that came in as a key
// block, and holds headers and strengths to the role and the protection key.
func TestBlockUse(t *testing.T) {
	ctx := t.Context()
	s := exchangeService(t)
	for _, k := range []struct{ role, version, key string }{
		{"kek.bank", "1", kbpkD}, {"kek.bank", "2", kbpkD[:32]}, {"kek.bank-des", "1", kbpkB}, {"kek.bank-des", "2", kbpkB + "0102040708cdcece"},
	} {
		got, err := s.importComponents(ctx, components(t, k.role, k.version, k.key, kcvOf(t, exchangedRoles[k.role].algorithm, k.key)))
		if err != nil || k.version == "1" && k.role == "kek.bank" && hex.EncodeToString(got.CMAC) != "233155" { // openssl mac
			t.Fatalf("%s/%s: %+v, %v", k.role, k.version, got, err)
		}
	}
	cvk := bytesOf(t, "0123456789abcdeffedcba9876543210")
	if err := s.makeTestCVK(ctx, hsm.KeyOptions{Use: hsm.UseEncrypt, Development: true}); err != nil { // version 1, which stays
		t.Fatal(err)
	}
	h := tr31.Header{Usage: "C0", Algorithm: 'T', Mode: 'C', KeyVersion: "12", Exportability: 'N'}
	in := BlockRequest{Role: RoleCVK, Version: "2", KEK: "kek.bank/1", Block: s.wrapped(t, "kek.bank/1", h, cvk), KCV: bytesOf(t, "08d7b4fb629d0885"), Development: true}
	got, err := s.keyBlock(ctx, &in)
	if err != nil || got.BankVersion != "12" || hex.EncodeToString(got.KCV) != "08d7b4" || got.CMAC != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, c := range vectorsOfPayment(t).CVV {
		if got, err := s.cvv(ctx, "2", c.PAN, c.Expiry, c.Service); err != nil || got[0] != c.CVV {
			t.Errorf("CVV with service code %s: %v %v", c.Service, got, err)
		}
	}

	// A PIN verification key of another version, and a PVV by it.
	pvk := tr31.Header{Usage: "V2", Algorithm: 'T', Mode: 'V', KeyVersion: "00", Exportability: 'S'}
	in = BlockRequest{Role: RolePVK, Version: "7", KEK: "kek.bank-des/1", Block: s.wrapped(t, "kek.bank-des/1", pvk, cvk), Development: true}
	if _, err := s.keyBlock(ctx, &in); err != nil {
		t.Fatal(err)
	}
	for _, c := range vectorsOfPayment(t).PVV {
		if got, err := s.pvv(ctx, "7", c.PAN, int(c.PVKI[0]-'0'), []byte(c.PIN)); err != nil || got != c.PVV {
			t.Errorf("PVV: %v, %v", got, err)
		}
	}

	zpk24 := append(bytes.Clone(cvk), 0x10, 0x20, 0x40, 0x70, 0x80, 0x13, 0x15, 0x16)
	zpk := tr31.Header{Usage: "P0", Algorithm: 'T', Mode: 'B', KeyVersion: "00", Exportability: 'E'}
	kek := tr31.Header{Usage: "K0", Algorithm: 'A', Mode: 'B', KeyVersion: "00", Exportability: 'N'}
	change := func(h tr31.Header, f func(*tr31.Header)) tr31.Header { f(&h); return h }
	for name, c := range map[string]struct {
		role, kek string
		header    tr31.Header
		key       []byte
		want      error
	}{
		"a component":                {RoleZPK, "kek.bank/1", change(zpk, func(h *tr31.Header) { h.KeyVersion = "c1" }), cvk, ErrKeyUsage},
		"an exportability unknown":   {RoleZPK, "kek.bank/1", change(zpk, func(h *tr31.Header) { h.Exportability = 'Q' }), cvk, ErrKeyUsage},
		"a mode of others":           {RoleZPK, "kek.bank/1", change(zpk, func(h *tr31.Header) { h.Mode = 'S' }), cvk, ErrKeyUsage},
		"another algorithm":          {RoleZPK, "kek.bank/1", change(zpk, func(h *tr31.Header) { h.Algorithm = 'D' }), cvk, ErrKeyUsage},
		"a length of none":           {RoleZPK, "kek.bank/1", zpk, cvk[:8], ErrKeyUsage},
		"three parts under two":      {RoleZPK, "kek.bank-des/1", zpk, zpk24, ErrKeyBlock},
		"AES-256 under AES-128":      {RoleBankKEK, "kek.bank/2", kek, bytesOf(t, kbpkD), ErrKeyBlock},
		"AES-128 under triple DES":   {RoleBankKEK, "kek.bank-des/2", kek, bytesOf(t, kbpkD)[:16], ErrKeyBlock},
		"equal parts":                {RoleZPK, "kek.bank/1", zpk, append(bytes.Clone(cvk[:8]), cvk[:8]...), ErrWeakKey},
		"three parts of DES, really": {RoleZPK, "kek.bank-des/2", zpk, zpk24, nil},
	} {
		version := "1"
		if c.role == RoleBankKEK {
			version = "9"
		}
		got, err := s.keyBlock(ctx, &BlockRequest{Role: c.role, Version: version, KEK: c.kek, Block: s.wrapped(t, c.kek, c.header, c.key), Development: true})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if c.want == nil && (err != nil || hex.EncodeToString(got.KCV) != kcvOf(t, 'T', hex.EncodeToString(zpk24))) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if c.want == nil {
			if err := s.token.Destroy(ctx, "cb/zpk/1"); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What is made is as long as role and protection key allow.
	for kek, size := range map[string]int{"kek.bank-des/1": 16, "kek.bank-des/2": 24, "kek.bank/1": 24} {
		if _, err := s.keyBlock(ctx, &BlockRequest{Role: RoleZPK, Version: "1", KEK: kek, Development: true}); err != nil {
			t.Fatalf("%s: %v", kek, err)
		}
		k, err := s.token.DES3(ctx, "cb/zpk/1")
		if err != nil || k.KeySize() != size {
			t.Errorf("%s: %d bytes, %v", kek, k.KeySize(), err)
		}
		if err := s.token.Destroy(ctx, "cb/zpk/1"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOneLabel: of many who bring a key of one name at once, one succeeds.
func TestOneLabel(t *testing.T) {
	s := exchangeService(t)
	const n = 6
	errs := make(chan error, n)
	for range n {
		in := components(t, RoleIMKAC, "1", "0123456789abcdeffedcba9876543210", "08d7b4")
		go func() {
			_, err := s.importComponents(t.Context(), in)
			errs <- err
		}()
	}
	done := 0
	for range n {
		if err := <-errs; err == nil {
			done++
		} else if !errors.Is(err, ErrKeyPresent) {
			t.Error(err)
		}
	}
	all, err := s.token.List(t.Context())
	if err != nil || done != 1 || len(all) != 1 {
		t.Errorf("%d brought it in, %d are there: %v", done, len(all), err)
	}
}

// TestCheckValues: published values (openemv/tr31's tests, ANSI X9.143:2021 8.1) and
// openssl's for three parts of triple DES. All digits that are told count.
func TestCheckValues(t *testing.T) {
	for _, c := range []struct {
		algorithm byte
		key, kcv  string
		want      error
	}{
		{'T', "5db50b454f8389adce573be50861f2bf", "5c9405", nil},
		{'T', "0123456789abcdeffedcba98765432108899aabbccddeeff", "caec3f57e0b38f93", nil},
		{'A', "be19e6a07a760f10ef8e83a226b63aad141f463fddd4f47db244b4023ec3cacc", "0a00e3", nil},
		{'A', "3f419e1cb7079442aa37474c2efbf8b8", "08793e25ab", nil},
		{'A', "3f419e1cb7079442aa37474c2efbf8b8", "08793e25ac", ErrKCV},
		{'T', "0123456789abcdeffedcba98765432108899aabbccddeeff", "caec3f57e0b38f93ff", ErrKCV},
		{'T', "5db50b454f8389adce573be50861f2bf", "5c94", ErrRequest},
	} {
		if err := (exchanged{algorithm: c.algorithm}).check(bytesOf(t, c.key), bytesOf(t, c.kcv)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.kcv, err)
		}
	}
}

// madeForBank: the token keeps a key that it makes, and the bank's block holds the same.
func (s *Service) madeForBank(t *testing.T) {
	t.Helper()
	for _, c := range []struct {
		role, kek, kbpk string
		aes             bool
	}{
		{"imk.ac", "kek.bank/1", kbpkD, true}, {"imk.smi", "kek.bank-des/1", kbpkB, false}, {"imk.dn-aes", "kek.bank/1", kbpkD, true}, {"kek.bank", "kek.bank/1", kbpkD, true},
	} {
		got, err := s.keyBlock(t.Context(), &BlockRequest{Role: c.role, Version: "3", KEK: c.kek, Development: true})
		if err != nil {
			t.Fatalf("%s: %v", c.role, err)
		}
		p, err := s.protection(t.Context(), c.kek)
		if err != nil {
			t.Fatal(err)
		}
		k, err := tr31.Unwrap(p, got.Block)
		if err != nil {
			t.Fatal(err)
		}
		kcv, err := exchangedRoles[c.role].kcv(k.Value)
		if err != nil || !bytes.Equal(kcv, got.KCV) {
			t.Errorf("%s: the bank's copy has check value %X, the token's %X", c.role, kcv, got.KCV)
		}
	}
}

// exchangeService is a service on an empty token.
func exchangeService(t *testing.T) *Service {
	t.Helper()
	token, _ := emptyToken(t)
	return NewService(token, "")
}

// TestComponentsRefused: what a ceremony must not let in.
func TestComponentsRefused(t *testing.T) {
	s := exchangeService(t)
	const key, kcv = "0123456789abcdeffedcba9876543210", "08d7b4"
	for name, c := range map[string]struct {
		change func(*wireImport)
		want   error
	}{
		"one component":      {func(w *wireImport) { w.Components, w.ComponentKCVs = w.Components[:1], w.ComponentKCVs[:1] }, ErrRequest},
		"a mistyped one":     {func(w *wireImport) { w.Components[1][3] ^= 0x10 }, ErrKCV},
		"another whole key":  {func(w *wireImport) { w.KCV = []byte{1, 2, 3} }, ErrKCV},
		"a short check":      {func(w *wireImport) { w.KCV = w.KCV[:2] }, ErrRequest},
		"no whole check":     {func(w *wireImport) { w.KCV = nil }, ErrRequest},
		"a zero one":         {func(w *wireImport) { clear(w.Components[1]) }, ErrComponents},
		"two of three equal": {func(w *wireImport) { w.Components[2] = bytes.Clone(w.Components[0]) }, ErrComponents},
		"equal but parity":   {func(w *wireImport) { w.Components[2] = bytes.Clone(w.Components[0]); w.Components[2][0] ^= 1 }, ErrComponents},
		"a weak whole": {func(w *wireImport) {
			*w = *components(t, RoleIMKAC, "1", "0123456789abcdef0123456789abcdef", kcvOf(t, 'T', "0123456789abcdef0123456789abcdef"))
		}, ErrWeakKey},
		"no checks":          {func(w *wireImport) { w.ComponentKCVs = nil }, ErrRequest},
		"lengths":            {func(w *wireImport) { w.Components[0] = w.Components[0][:8] }, ErrRequest},
		"a role of our own":  {func(w *wireImport) { w.Role = "kek.pool" }, ErrRequest},
		"the issuer's cards": {func(w *wireImport) { w.Role = "cmk.issuer" }, ErrRequest},
	} {
		in := components(t, RoleIMKAC, "1", key, kcv)
		c.change(in)
		if _, err := s.importComponents(t.Context(), in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		for _, part := range in.Components {
			if c.want != ErrRequest && !bytes.Equal(part, make([]byte, len(part))) {
				t.Errorf("%s: a component stays in memory", name)
			}
		}
	}
	for _, k := range []string{"0123456789abcdef0123456789abcdef", "01010101010101010123456789abcdef", "e0e0e0e0f1f1f1f1fedcba9876543210"} {
		if !weak('T', bytesOf(t, k)) {
			t.Errorf("%s counts as strong", k)
		}
	}
	if weak('T', bytesOf(t, key)) || weak('A', bytesOf(t, "0123456789abcdef0123456789abcdef")) {
		t.Error("a strong key counts as weak")
	}
	all, err := s.token.List(t.Context())
	if err != nil || len(all) != 0 {
		t.Errorf("keys were left behind: %v, %v", all, err)
	}
	if _, err := s.importComponents(t.Context(), components(t, "cmk.acme-des", "1", key, kcv)); err != nil {
		t.Error(err)
	}
}
