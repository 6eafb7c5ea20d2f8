package endtoend

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/cardio/stripe"
	"cardbureau/cardio/virtual/encoder"
	"cardbureau/cardio/virtual/nvm"
	"cardbureau/personalization/record"
)

// TestNothingOfTheBankLeaks makes cards with a bank account with every log on,
// has the bank ask and reconcile, and searches all that was printed, logged,
// traced, answered and stored for every PAN, IBAN, track, PIN and key of every card.
func TestNothingOfTheBankLeaks(t *testing.T) {
	h := newProductHouse(t, 5, "identity-bank", "CARDBUREAU_LOG=debug")
	s := &secrets{house: h, t: t, needles: newNeedles()}
	readers, _ := h.readers(1)
	serve := h.start("serve", "--listen", "127.0.0.1:0", "--iso8583", "127.0.0.1:0", "--json")
	var ready struct{ URL, ISO8583 string }
	if err := json.Unmarshal(bytes.SplitAfter(serve.ready(), []byte("\n"))[0], &ready); err != nil {
		t.Fatal(err)
	}
	key := h.start("api-key", "create", "bank", "--scope", "bank:accounts,bank:verify,bank:status,bank:pan")
	if key.wait() != 0 {
		t.Fatal(key.stderr.String())
	}
	s.apiKey = strings.TrimSpace(key.stdout.String())

	file := filepath.Join(h.dir, "records.jws")
	s.own = append(s.own, file)
	p := h.start("virtual", "records", "4", "--bank", "half")
	if p.wait() != 0 {
		t.Fatal(p.stderr.String())
	}
	records := p.stdout.bytes()
	for i, line := range bytes.Split(bytes.TrimSpace(records), []byte("\n")) {
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(string(line), ".")[1])
		var r record.Record
		if err == nil {
			err = json.Unmarshal(payload, &r)
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.Bank != nil {
			s.needles.text(fmt.Sprintf("IBAN of record %d", i), r.Bank.IBAN)
		}
	}
	if err := os.WriteFile(file, records, 0o600); err != nil {
		t.Fatal(err)
	}
	// Two records bring accounts, two wait for the bank.
	traces := filepath.Join(h.dir, "traces")
	if r := h.issue([]string{file, "--trace", traces}, 0, 3); r.Issued != 2 {
		t.Fatalf("%+v", r)
	}
	message := h.must(0, "virtual", "accounts")
	if a := s.post(ready.URL+"/v1/bank/assignments", "application/jose", bytes.TrimSpace(message)); bytes.Count(a, []byte(`"done"`)) != 2 {
		t.Fatalf("%s", a)
	}
	h.must(0, "lot", "release", "accounts came")
	r := h.issue([]string{"--trace", traces}, 0)
	if r.Issued != 2 {
		t.Fatalf("%+v", r)
	}
	pans := filepath.Join(h.dir, "pans.jwe")
	h.must(1, "bank", "files", "pans", "--out", pans) // the bank has given no key
	own := s.bankKey()
	s.mailers(own)
	h.must(0, "bank", "files", "pans", "--out", pans)
	h.must(0, "bank", "files", "issue", "--encrypt", "--out", filepath.Join(h.dir, "issued.jwe"))
	h.must(0, "bank", "files", "issue", "--out", filepath.Join(h.dir, "issued.csv"))
	h.must(0, "bank", "reconcile", "--out", filepath.Join(h.dir, "reconciliation.csv"))
	h.must(0, "bank", "bindings", "--out", filepath.Join(h.dir, "bindings"))
	h.env = append(h.env, "CARDBUREAU_API_KEY="+s.apiKey)
	h.must(0, "virtual", "pay", r.Cards[0], "--url", ready.URL)
	for issuer, address := range map[string]string{"--url": ready.URL, "--switch": ready.ISO8583} {
		var paid struct {
			ARQCVerified bool
			ResponseCode string
			Approved     bool
		}
		if h.json(&paid, 0, "virtual", "pay", r.Cards[1], issuer, address); !paid.ARQCVerified || paid.ResponseCode != "78" || paid.Approved {
			t.Errorf("%s: %+v", issuer, paid)
		}
	}
	s.get(ready.URL + "/v1/bank/events")
	s.masked(ready.URL)
	s.post(ready.URL+"/v1/bank/match", "application/json", []byte(`{"panToken":"`+strings.Repeat("00", 16)+`","panSequence":1,"iban":"IR000000000000000000000000"}`))
	h.must(0, "audit", "verify")
	for _, p := range []*process{serve, readers} {
		p.stop()
		h.keep(p)
	}
	s.payments(4)
	s.lists(own, pans)
	s.printed(own)

	db := h.database()
	for _, f := range s.everything(db) {
		// The bank's own file names accounts by their IBANs.
		if !strings.HasPrefix(f, "IBAN of ") || !strings.HasSuffix(f, " in file issued.csv") {
			t.Errorf("found: %s", f)
		}
	}
	if t.Failed() {
		return
	}
	// Would it have been found?
	if err := os.WriteFile(filepath.Join(h.dir, "run", "canary"), []byte("pan="+s.can), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := strings.Join(s.everything(db), "\n"); !strings.Contains(found, "PAN in file run/canary") {
		t.Errorf("planted, not found: %s", found)
	}
}

// bankKey gives the bureau a key of the bank's to encipher to, and returns its other
// half.
func (s *secrets) bankKey() *ecdsa.PrivateKey {
	t := s.t
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(s.dir, "bank-keys.json")
	raw, err := os.ReadFile(name)
	var keys jose.JSONWebKeySet
	if err == nil {
		err = json.Unmarshal(raw, &keys)
	}
	if err != nil {
		t.Fatal(err)
	}
	keys.Keys = append(keys.Keys, jose.JSONWebKey{Key: own.Public(), KeyID: "bank-files", Use: "enc", Algorithm: string(jose.ECDH_ES_A256KW)})
	if raw, err = json.Marshal(keys); err == nil {
		err = os.WriteFile(name, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// opened deciphers a file of the bureau's as the bank does.
func (s *secrets) opened(own *ecdsa.PrivateKey, name string) []byte {
	s.t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		s.t.Fatal(err)
	}
	e, err := jose.ParseEncryptedCompact(strings.TrimSpace(string(raw)), []jose.KeyAlgorithm{jose.ECDH_ES_A256KW}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		s.t.Fatal(err)
	}
	plain, err := e.Decrypt(own)
	if err != nil {
		s.t.Fatal(err)
	}
	return plain
}

// mailers writes the PINs for their printer: two people, and nobody in between.
func (s *secrets) mailers(own *ecdsa.PrivateKey) {
	h, printer := s.house, filepath.Join(s.dir, "printer.jwk")
	raw, err := json.Marshal(jose.JSONWebKey{Key: own.Public(), KeyID: "printer"})
	if err == nil {
		err = os.WriteFile(printer, raw, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	h.must(0, "bank", "mailers", "open") // none waits for a day yet
	var batch struct {
		Batch string
		PINs  int
	}
	h.json(&batch, 0, "bank", "mailers", "open", "--delay", "0s", "--operator", "amini")
	if batch.PINs != 4 {
		s.t.Fatalf("%+v", batch)
	}
	out := filepath.Join(s.dir, "mailers.jwe")
	h.must(1, "bank", "mailers", "export", batch.Batch, "--to", printer, "--out", out)
	h.must(1, "bank", "mailers", "release", batch.Batch, "--operator", "amini")
	h.must(0, "bank", "mailers", "release", batch.Batch, "--operator", "rahmani")
	h.must(0, "bank", "mailers", "export", batch.Batch, "--to", printer, "--out", out)
	h.must(0, "bank", "mailers", "printed", batch.Batch)
	h.must(1, "bank", "mailers", "export", batch.Batch, "--to", printer, "--out", out+"2")
}

// printed compares the PINs of the mailers with those on the chips.
func (s *secrets) printed(own *ecdsa.PrivateKey) {
	var list struct{ Mailers []struct{ Label, PIN string } }
	if err := json.Unmarshal(s.opened(own, filepath.Join(s.dir, "mailers.jwe")), &list); err != nil || len(list.Mailers) != 4 {
		s.t.Fatalf("%d mailers, %v", len(list.Mailers), err)
	}
	for _, m := range list.Mailers {
		if len(m.PIN) < 4 || s.pins[m.Label] != m.PIN {
			s.t.Error("a mailer has another PIN than its card")
		}
	}
}

// inside is what is in a compact JWS, by one of the keys that the bureau publishes.
func (s *secrets) inside(jws []byte) []byte {
	raw, err := os.ReadFile(filepath.Join(s.dir, "bank-jwks.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	var published jose.JSONWebKeySet
	if err := json.Unmarshal(raw, &published); err != nil {
		s.t.Fatal(err)
	}
	o, err := jose.ParseSignedCompact(string(jws), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		s.t.Fatal(err)
	}
	keys := published.Key(o.Signatures[0].Header.KeyID)
	if len(keys) != 1 {
		s.t.Fatalf("the list is signed by %q", o.Signatures[0].Header.KeyID)
	}
	payload, err := o.Verify(keys[0].Key)
	if err != nil {
		s.t.Fatal(err)
	}
	return payload
}

// lists checks that the bank, and nobody else, learns the PANs, and that an enciphered
// file is the one that would have been written.
func (s *secrets) lists(own *ecdsa.PrivateKey, name string) {
	t := s.t
	var list struct {
		Kind            string
		Sequence, Cards json.RawMessage
	}
	plain := s.inside(s.opened(own, name))
	if err := json.Unmarshal(plain, &list); err != nil || list.Kind != "PANS" || string(list.Sequence) != "1" {
		t.Errorf("list: %v, %v", list.Kind, err)
	}
	var cards []struct {
		PAN, PANToken, Expires, ServiceCode string
		PANSequence                         int
	}
	if err := json.Unmarshal(list.Cards, &cards); err != nil || len(cards) != len(s.pans) {
		t.Fatalf("%d of %d PANs, %v", len(cards), len(s.pans), err)
	}
	for _, c := range cards {
		if !slices.Contains(s.pans, c.PAN) || len(c.PANToken) != 32 || c.PANSequence != 1 || c.ServiceCode == "" || c.Expires == "" {
			t.Error("the list names a card that was not made, or lacks something")
		}
	}
	if file := s.opened(own, filepath.Join(s.dir, "issued.jwe")); !bytes.Contains(file, []byte("ISSUE")) || bytes.Count(file, []byte("\r\n")) != 7 {
		t.Errorf("the enciphered file has %d lines", bytes.Count(file, []byte("\r\n")))
	}
}

// masked asks for a card with a key that may see more of its PAN.
func (s *secrets) masked(url string) {
	var list struct{ Events []struct{ PANToken string } }
	if err := json.Unmarshal(s.get(url+"/v1/bank/events"), &list); err != nil || len(list.Events) == 0 {
		s.t.Fatal(err)
	}
	var status struct{ PAN, Last4 string }
	if err := json.Unmarshal(s.get(url+"/v1/bank/cards/"+list.Events[0].PANToken+"/1/status"), &status); err != nil || status.PAN != "589210******"+status.Last4 {
		s.t.Errorf("%+v, %v", status, err)
	}
}

// payments makes needles of what payment applications and stripes hold.
func (s *secrets) payments(want int) {
	t, n := s.t, s.needles
	_, paths := s.files("virtual/issued")
	made := 0
	s.pins = map[string]string{}
	for _, path := range paths {
		m, err := nvm.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		space := m.Space("app:F0000003641010")
		for _, key := range space.Keys("dgi/") {
			v := bytes.Clone(space.Get(key))
			switch name := strings.TrimPrefix(key, "dgi/"); name {
			case "0101":
				i := bytes.Index(v, []byte{0x57, 0x10})
				if i < 0 {
					t.Fatal("no track 2 equivalent data")
				}
				digits := strings.ToUpper(hex.EncodeToString(v[i+2 : i+18]))
				pan, rest, _ := strings.Cut(digits, "D")
				n.number("PAN", pan)
				n.value("PAN", v[i+2:i+10])
				n.number("track 2 equivalent data", strings.TrimRight(rest, "F"))
				s.can = pan
				s.pans = append(s.pans, pan)
				made++
			case "8000":
				for at := 0; at+16 <= len(v); at++ {
					n.value("ICC master key", v[at:at+16])
				}
			case "8010": // ISO 9564 format 2: 2, length, digits, F
				n.value("PIN block", v)
				block := hex.EncodeToString(v)
				s.pins[s.can[len(s.can)-4:]] = block[2 : 2+int(block[1]-'0')]
			case "8201", "8202", "8203", "8204", "8205":
				n.value("ICC private key", v[8:40])
			}
		}
		m.Close()
		raw, err := encoder.Dir(filepath.Join(s.dir, "virtual", "stripes")).Load(strings.TrimSuffix(filepath.Base(path), ".card"))
		if err != nil || len(raw) == 0 {
			t.Fatalf("%s has no stripe: %v", filepath.Base(path), err)
		}
		for track := 1; len(raw) >= 2; track++ {
			size := int(raw[0])<<8 | int(raw[1])
			bits := raw[2 : 2+size]
			raw = raw[2+size:]
			if text, err := stripe.Decode(track, bits); err == nil && len(text) > 0 {
				for at := range 3 { // wherever it begins
					n.number(fmt.Sprintf("track %d", track), string(text[at:]))
				}
				n.number(fmt.Sprintf("end of track %d", track), string(text[len(text)-12:]))
			}
		}
	}
	for _, kind := range []string{"PAN", "track 2 equivalent data", "ICC master key", "PIN block", "ICC private key", "track 1", "track 2", "IBAN of record 0"} {
		if made != want || !n.kinds[kind] {
			t.Fatalf("%d cards; no %s was found on them", made, kind)
		}
	}
}
