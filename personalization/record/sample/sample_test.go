package sample

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"image/jpeg"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/personalization/record"
)

var at = time.Date(2026, 3, 21, 9, 0, 0, 0, time.UTC)

func options(n int) Options {
	return Options{N: n, Seed: 1, Audience: "bureau-1", IssuedAt: at}
}

// block is the first block of people, made once.
var block = sync.OnceValue(func() (out []record.Record) {
	for _, r := range Records(options(0)) {
		out = append(out, r)
	}
	return out
})

// TestSignedSamplesAreAccepted signs a block and a bit of the next, and takes
// them in with every rule on.
func TestSignedSamplesAreAccepted(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key},
		(&jose.SignerOptions{}).WithHeader("kid", "test").WithType("verified-record+jws"))
	if err != nil {
		t.Fatal(err)
	}
	trust, err := record.NewTrust(time.Time{}, []record.TrustKey{{
		KeyID: "test", Algorithm: "ES256", JWK: jose.JSONWebKey{Key: &key.PublicKey},
		NotBefore: at.AddDate(-1, 0, 0), NotAfter: at.AddDate(1, 0, 0), Permits: []string{record.AnyPermit},
	}})
	if err != nil {
		t.Fatal(err)
	}
	v := record.Verifier{Trust: trust, Audience: "bureau-1", Now: func() time.Time { return at }, Rules: record.Rules{UniqueID: "luhn"}}
	n := 0
	for i, payload := range Payloads(options(Block + 6)) {
		jws, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		line, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.Verify(t.Context(), []byte(line))
		if err != nil {
			t.Errorf("record %d: %v", i, err)
			continue
		}
		if got.Record.NeedsDecision(at) {
			t.Errorf("record %d would wait for a decision", i)
		}
		n++
	}
	if n != Block+6 {
		t.Errorf("%d accepted", n)
	}
}

func TestMix(t *testing.T) {
	minors, unknown, single, latin := 0, 0, 0, 0
	family := map[*people]int{}
	ids, photos, records := map[string]bool{}, map[string]bool{}, map[string]bool{}
	adults := map[string]bool{}
	for i, r := range block() {
		p := r.Person
		family[slots[i].people]++
		ids[p.UniqueID], photos[string(p.Photo.Data)], records[r.RecordID] = true, true, true
		if r.Minor(at) {
			minors++
		} else {
			adults[p.UniqueID] = true
		}
		if r.Minor(at) != (p.BirthDate.EntitlementAge(record.DateOf(at)) < 18) {
			t.Errorf("record %d: protection and entitlement differ", i)
		}
		if !p.BirthDate.Known() {
			unknown++
		}
		if p.Name.Local.Family == "" {
			single++
		}
		if p.Name.Latin.Given != "" {
			latin++
		}
		if age := p.BirthDate.ProtectionAge(record.DateOf(at)); age < slots[i].age-1 || age > slots[i].age+1 {
			t.Errorf("record %d: %d years, meant %d", i, age, slots[i].age)
		}
	}
	if family[&dari] != 8 || family[&persian] != 6 || family[&pashto] != 5 || family[&arabic] != 5 {
		t.Errorf("names: %d Dari, %d Persian, %d Pashto, %d Arabic", family[&dari], family[&persian], family[&pashto], family[&arabic])
	}
	if minors != 5 || unknown != 3 || single != 2 || latin < 8 || latin > 16 {
		t.Errorf("%d minors, %d unknown birth days, %d single names, %d with Latin spelling", minors, unknown, single, latin)
	}
	if len(ids) != Block || len(photos) != Block || len(records) != Block {
		t.Errorf("%d unique ids, %d photos, %d record ids", len(ids), len(photos), len(records))
	}
	for i, r := range block() {
		if g := r.Person.Guardian; r.Minor(at) && (g == nil || g.Kind == "none" || g.Kind == "person" && !adults[g.ID]) {
			t.Errorf("record %d: no guardian among the adults", i)
		}
	}
}

func TestNamesAreWhatTheySay(t *testing.T) {
	mrz := regexp.MustCompile(`^[A-Z]+(<[A-Z]+)*$`)
	for _, p := range []*people{&dari, &persian, &pashto, &arabic} {
		for _, list := range [][]entry{p.families, p.men, p.women, p.places} {
			for _, e := range list {
				for _, r := range record.Normalize(e.local) {
					if unicode.IsLetter(r) && !unicode.Is(unicode.Arabic, r) {
						t.Errorf("%s holds %U", e.latin, r)
					}
				}
				a, err := record.Transliterate(e.local)
				if err != nil || !mrz.MatchString(a) {
					t.Errorf("%s: %q, %v", e.latin, a, err)
				}
				b, err := record.LatinMRZ(e.latin)
				if err != nil || !mrz.MatchString(b) {
					t.Errorf("%s: %q, %v", e.latin, b, err)
				}
			}
		}
	}
	var text strings.Builder
	for _, e := range append(append(pashto.families, pashto.men...), pashto.women...) {
		text.WriteString(e.local)
	}
	for _, r := range "ټډړږښګڼېۍځڅ" {
		if !strings.ContainsRune(text.String(), r) {
			t.Errorf("no Pashto name has %c", r)
		}
	}
}

func TestPortraits(t *testing.T) {
	for i, r := range block() {
		data := r.Person.Photo.Data
		if len(data) < 12<<10 || len(data) > 18<<10 {
			t.Errorf("record %d: portrait of %d bytes", i, len(data))
		}
		info, err := record.InspectPhoto("image/jpeg", data)
		if err != nil || info.Size != (record.Size{Width: Width, Height: Height}) {
			t.Errorf("record %d: %+v, %v", i, info, err)
		}
		if img, err := jpeg.Decode(bytes.NewReader(data)); err != nil || img.Bounds().Dx() != Width {
			t.Errorf("record %d: %v", i, err)
		}
	}
}

// TestFixedSeed pins the first record's text without its photo, whose bytes
// belong to the encoder of the Go release.
func TestFixedSeed(t *testing.T) {
	sum := func(o Options, i int) string {
		r := Make(o, i)
		r.Person.Photo.Data = nil
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.Sum256(b)
		return hex.EncodeToString(h[:8])
	}
	const want = "61fc7c6c4ef29581"
	if got := sum(options(1), 0); got != want {
		t.Errorf("got %s", got)
	}
	other := options(1)
	other.Seed = 2
	if sum(other, 0) == want || sum(options(1), Block) == want {
		t.Error("another seed or block makes another person")
	}
	if !bytes.Equal(Make(options(1), 7).Person.Photo.Data, Make(options(1), 7).Person.Photo.Data) {
		t.Error("the same options make the same portrait")
	}
}

func BenchmarkMake(b *testing.B) {
	for i := 0; b.Loop(); i++ {
		Make(options(0), i)
	}
}
