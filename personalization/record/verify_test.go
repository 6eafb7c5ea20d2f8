package record

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestVerifyAccepts(t *testing.T) {
	v, k := verifier(t), keys()
	rec := good()
	payload := payloadOf(t, rec)
	for _, s := range []signer{k.es, k.ps, k.ed} {
		jws := s.sign(t, payload, mediaType)
		for name, line := range map[string]string{
			"jws": jws + "\r\n", "jwe": intakeKey().seal(t, jws, mediaType),
			"jwe with long cty": intakeKey().seal(t, jws, "application/Verified-Record+JWS"),
		} {
			got, err := v.Verify(t.Context(), []byte(line))
			if err != nil {
				t.Fatalf("%s %s: %v", s.alg, name, err)
			}
			if got.KeyID != s.kid || got.ViaJWE != strings.HasPrefix(name, "jwe") || string(got.Signed) != jws ||
				got.Digest != sha256.Sum256(payload) {
				t.Errorf("%s %s: kid, way, signed text or digest is wrong", s.alg, name)
			}
			if d := cmp.Diff(rec, got.Record); d != "" {
				t.Errorf("%s %s: %s", s.alg, name, d)
			}
		}
	}
}

func TestVerifyReadsEveryMember(t *testing.T) {
	rec, seventeen := good(), 17
	p := &rec.Person
	rec.Reason, rec.Replaces = "replacement", "8CVXKLPR2"
	p.BirthDate = BirthDate{1990, 5, 0}
	p.FatherName = &Bilingual{Local: "علی", Latin: "Ali"}
	p.BirthPlace = &Bilingual{Local: "هرات"}
	p.LegacyDocuments = []LegacyDocument{{Kind: "amayesh-card", Series: &seventeen, Number: "A1", ValidUntil: Date{2025, 2, 1}}, {Kind: "student", Number: "9"}}
	p.Household = &Household{ID: "H1", Head: true}
	p.Guardian = &Guardian{Kind: "person", ID: "22222222"}
	rec.Residence.Series = &seventeen
	rec.Services = []Service{{Code: "health", ValidFrom: Date{2025, 1, 1}, ValidUntil: Date{2026, 1, 1}}, {Code: "school"}}
	rec.Bank = &Bank{IBAN: sampleIBAN, Account: "12345678", PAN: "5892100000000016", CardholderName: "MOHAMMAD REZAI"}
	rec.SIM = &SIM{Operator: "43211", MSISDN: "+989101234567", ICCID: "8998110000000000012"}
	line := intakeKey().seal(t, signed(t, rec), mediaType)
	got, err := verifier(t).Verify(t.Context(), []byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(rec, got.Record); d != "" {
		t.Error(d)
	}
}

var sampleIBAN = "IR" + IBANDigits("IR", "0150000001234567890123") + "0150000001234567890123"

// TestRefusals holds one input for each code that this package raises.
func TestRefusals(t *testing.T) {
	v := verifier(t)
	es := keys().es
	withPerson := func(f func(*Person)) string {
		r := good()
		f(&r.Person)
		return signed(t, r)
	}
	with := func(f func(*Record)) string {
		r := good()
		f(&r)
		return signed(t, r)
	}
	member := func(old, with string) string { // change of the payload's text
		p := string(payloadOf(t, good()))
		if !strings.Contains(p, old) {
			t.Fatalf("no %q in the payload", old)
		}
		return es.sign(t, []byte(strings.Replace(p, old, with, 1)), mediaType)
	}
	raw := func(header, payload string) string {
		b := base64.RawURLEncoding.EncodeToString
		return b([]byte(header)) + "." + b([]byte(payload)) + "." + b(make([]byte, 64))
	}
	altered := func() string {
		parts := strings.Split(signed(t, good()), ".")
		p := bytes.Replace(payloadOf(t, good()), []byte(`"M"`), []byte(`"F"`), 1)
		return parts[0] + "." + base64.RawURLEncoding.EncodeToString(p) + "." + parts[2]
	}
	jws, in := signed(t, good()), intakeKey()
	jwe := in.seal(t, jws, mediaType)
	jweHeader := func(h string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(h)) + jwe[strings.IndexByte(jwe, '.'):]
	}
	bank := func(b Bank) string { return with(func(r *Record) { r.Bank = &b }) }
	sim := func(s SIM) string { return with(func(r *Record) { r.SIM = &s }) }
	sepah := Rules{BankCode: "015", PANPrefixes: []string{"589210"}, UniqueID: "luhn",
		Operators: map[string][]string{"43211": {"+98910"}, "43235": nil}}

	for _, c := range []struct {
		code, line string
		change     func(*Verifier)
	}{
		{NotJWS, "not a record", nil},
		{NotJWS, "a.b.c", nil},
		{NotJWS, "e30.e30", nil},
		{NotJWS, "a.b.c.d.e", nil},
		{NotJWS, `{"schema":"verified-record/1"}`, nil},
		{NotJWS, jws[:40] + "\n" + jws[40:], nil},
		{NotJWS, in.seal(t, "not a record", mediaType), nil},
		{NotJWS, in.seal(t, jwe, mediaType), nil},
		{LineTooLong, strings.Repeat("A", MaxLine+1), nil},
		{JWSHeader, raw(`{"alg":"none","kid":"reg-es","typ":"verified-record+jws"}`, "{}"), nil},
		{JWSHeader, raw(`{"alg":"HS256","kid":"reg-es","typ":"verified-record+jws"}`, "{}"), nil},
		{JWSHeader, raw(`{"alg":"ES256","typ":"verified-record+jws"}`, "{}"), nil},
		{JWSHeader, raw(`{"alg":"ES256","kid":"reg-es","typ":"verified-record+jws","crit":["b64"],"b64":false}`, "{}"), nil},
		{JWSHeader, es.sign(t, payloadOf(t, good()), "JWT"), nil},
		{JWSHeader, es.sign(t, payloadOf(t, good()), ""), nil},
		{UnknownKey, raw(`{"alg":"ES256","kid":"other","typ":"verified-record+jws"}`, "{}"), nil},
		{AlgMismatch, raw(`{"alg":"PS256","kid":"reg-es","typ":"verified-record+jws"}`, "{}"), nil},
		{KeyExpired, jws, func(v *Verifier) { v.Now = func() time.Time { return now.AddDate(1, 0, 1) } }},
		{KeyNotYetValid, jws, func(v *Verifier) { v.Now = func() time.Time { return now.AddDate(0, -1, -1) } }},
		{TrustExpired, jws, func(v *Verifier) {
			v.Trust, _ = NewTrust(now.Add(-time.Second), v.Trust.Keys)
		}},
		{BadSignature, altered(), nil},
		{BadSignature, signer{es.kid, keys().es.alg, newKey(t), nil}.sign(t, payloadOf(t, good()), mediaType), nil},
		{NotJSON, es.sign(t, []byte("no"), mediaType), nil},
		{NotJSON, es.sign(t, []byte("[]"), mediaType), nil},
		{NotJSON, es.sign(t, []byte("{}{}"), mediaType), nil},
		{NotJSON, es.sign(t, []byte("{\"a\":\"\xff\"}"), mediaType), nil},
		{NotJSON, es.sign(t, []byte(`{"a":"\ud800"}`), mediaType), nil},
		{NotJSON, es.sign(t, []byte(`{"a":1e999999999}`), mediaType), nil},
		{NotJSON, es.sign(t, []byte(strings.Repeat(`{"a":`, 5000)), mediaType), nil},
		{NotJSON, member(`"sex":"M"`, `"sex":"M","sex":"F"`), nil},
		{BadSchema, es.sign(t, []byte("{}"), mediaType), nil},
		{BadSchema, member(`"sex":"M"`, `"sex":"Q"`), nil},
		{BadSchema, member(`"sex":"M"`, `"sex":"M","SEX":"F"`), nil},
		{BadSchema, member(good().RecordID, "not-a-uuid"), nil},
		{BadSchema, member(`"validUntil":"2027-06-01"`, `"validUntil":"2027-02-30"`), nil},
		{BadSchema, member(`"data":"`, `"data":"*`), nil},
		{BadSchema, member(`"data":"/9j/`, `"data":"/9j\n`), nil},
		{BadSchema, with(func(r *Record) { r.Reason = "correction" }), nil},
		{BadSchema, withPerson(func(p *Person) { p.Guardian = &Guardian{Kind: "person"} }), nil},
		{BadSchema, withPerson(func(p *Person) { p.Photo.Data = make([]byte, MaxPhoto+3) }), nil},
		{WrongAudience, with(func(r *Record) { r.Audience = "bureau-2" }), nil},
		{NotYetValid, with(func(r *Record) { r.IssuedAt = now.Add(time.Hour) }), nil},
		{Expired, with(func(r *Record) { r.ExpiresAt = now }), nil},
		{PermitNotGiven, jws, func(v *Verifier) {
			k := es.trust()
			k.Permits = []string{"student"}
			v.Trust, _ = NewTrust(time.Time{}, []TrustKey{k})
		}},
		{DateImpossible, member("1990-05-17", "1990-02-30"), nil},
		{DateImpossible, member("1990-05-17", "1890-05-17"), nil},
		{DateImpossible, member(good().IssuedAt.Format(time.RFC3339), "2016-12-31T23:59:60Z"), nil},
		{DateOrder, withPerson(func(p *Person) { p.BirthDate = BirthDate{2026, 3, 23} }), nil},
		{DateOrder, with(func(r *Record) { r.Residence.ValidUntil = Date{2025, 5, 31} }), nil},
		{DateOrder, with(func(r *Record) {
			r.Services = []Service{{Code: "ok"}, {Code: "late", ValidFrom: Date{2026, 1, 2}, ValidUntil: Date{2026, 1, 1}}}
		}), nil},
		{NoGuardian, withPerson(func(p *Person) { p.BirthDate = BirthDate{2008, 3, 22} }), nil},
		{NoGuardian, withPerson(func(p *Person) { p.BirthDate = BirthDate{2008, 0, 0} }), nil},
		{PhotoTooLarge, jws, func(v *Verifier) { v.MaxPhoto = 100 }},
		{PhotoUnreadable, withPerson(func(p *Person) { p.Photo.Data = p.Photo.Data[:len(p.Photo.Data)-9] }), nil},
		{PhotoUnreadable, withPerson(func(p *Person) { p.Photo.MediaType = "image/jp2" }), nil},
		{PhotoSize, withPerson(func(p *Person) { p.Photo.Data = jpegOf(t, 100, 100) }), nil},
		{PhotoSize, withPerson(func(p *Person) { p.Photo.Data = jpegOf(t, 531, 413) }), nil},
		{PhotoSize, withPerson(func(p *Person) { p.Photo.Data = jpegOf(t, 1201, 1300) }), nil},
		{NameScript, withPerson(func(p *Person) { p.Name.Local.Given = "Mohammad" }), nil},
		{NameScript, withPerson(func(p *Person) { p.Name.Local.Given = "ـ" }), nil},
		{NameScript, withPerson(func(p *Person) { p.BirthPlace = &Bilingual{Local: "Herat"} }), nil},
		{NameLatin, withPerson(func(p *Person) { p.Name.Latin.Family = "Резаи" }), nil},
		{NameLetters, withPerson(func(p *Person) { p.Name = Names{Local: Name{Given: "ئەحمەد"}} }), nil},
		{NationalityISO, withPerson(func(p *Person) { p.Nationality = "DEU" }), nil},
		{NoNationality, withPerson(func(p *Person) { p.Nationality = "QQQ" }), nil},
		{UniqueIDCheck, withPerson(func(p *Person) { p.UniqueID = "100200300402" }), func(v *Verifier) { v.Rules = sepah }},
		{IBANCheck, bank(Bank{IBAN: "IR00" + sampleIBAN[4:], Account: "12345"}), nil},
		{IBANBank, bank(Bank{IBAN: "IR" + IBANDigits("IR", "0160000001234567890123") + "0160000001234567890123", Account: "12345"}),
			func(v *Verifier) { v.Rules.BankCode = "015" }},
		{PANInClear, bank(Bank{IBAN: sampleIBAN, Account: "12345", PAN: "5892100000000016"}), nil},
		{PANLuhn, in.seal(t, bank(Bank{IBAN: sampleIBAN, Account: "12345", PAN: "5892100000000017"}), mediaType), nil},
		{PANPrefix, in.seal(t, bank(Bank{IBAN: sampleIBAN, Account: "12345", PAN: "4123456789012349"}), mediaType),
			func(v *Verifier) { v.Rules.PANPrefixes = sepah.PANPrefixes }},
		{SIMOperator, sim(SIM{Operator: "43220", MSISDN: "+989201234567"}), func(v *Verifier) { v.Rules.Operators = sepah.Operators }},
		{MSISDNPrefix, sim(SIM{Operator: "43211", MSISDN: "+989121234567"}), func(v *Verifier) { v.Rules.Operators = sepah.Operators }},
		{ICCIDLuhn, sim(SIM{Operator: "43211", MSISDN: "+989101234567", ICCID: "8998110000000000013"}), nil},
		{JWERequired, jws, func(v *Verifier) { v.RequireJWE = true }},
		{JWENotAccepted, jwe, func(v *Verifier) { v.Opener = nil }},
		{JWEHeader, in.seal(t, jws, ""), nil},
		{JWEHeader, in.seal(t, jws, "JWT"), nil},
		{JWEHeader, jweHeader(`{"alg":"dir","enc":"A256GCM","cty":"verified-record+jws"}`), nil},
		{JWEHeader, jweHeader(`{"alg":"ECDH-ES+A256KW","enc":"A128GCM","cty":"verified-record+jws"}`), nil},
		{JWEHeader, jweHeader(`{"alg":"ECDH-ES+A256KW","enc":"A256GCM","cty":"verified-record+jws","zip":"DEF"}`), nil},
		{JWEHeader, jweHeader(`{"alg":"ECDH-ES+A256KW","enc":"A256GCM","cty":"verified-record+jws","crit":["x"]}`), nil},
		{JWEUnreadable, jwe[:len(jwe)-40] + strings.Repeat("A", 8) + jwe[len(jwe)-32:], nil},
		{JWEUnreadable, jwe[:len(jwe)-4], nil},
	} {
		t.Run(c.code, func(t *testing.T) {
			v := *v
			if c.change != nil {
				c.change(&v)
			}
			_, err := v.Verify(t.Context(), []byte(c.line))
			ref := wantCode(t, err, c.code)
			for _, secret := range []string{"100200300401", "رضایی", "Rezai", "Резаи", "5892100000000016"} {
				if strings.Contains(err.Error(), secret) || strings.Contains(fmt.Sprintf("%+v %#v", ref, *ref), secret) {
					t.Errorf("the refusal shows something of the person: %v", err)
				}
			}
		})
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRefusalNamesRecord(t *testing.T) {
	v, id := verifier(t), good().RecordID
	parts := strings.Split(signed(t, good()), ".")
	shouting := good()
	shouting.RecordID, shouting.Audience = strings.ToUpper(id), "elsewhere"
	for code, line := range map[string]string{
		BadSignature:  parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)),
		WrongAudience: signed(t, shouting),
	} {
		_, err := v.Verify(t.Context(), []byte(line))
		if ref := wantCode(t, err, code); ref.RecordID != id {
			t.Errorf("%s: recordId %q, want %q", code, ref.RecordID, id)
		}
	}
}

func TestProtectionAndEntitlement(t *testing.T) {
	on := DateOf(now) // 2026-03-21
	for _, c := range []struct {
		birth                   string
		protection, entitlement int
	}{
		{"2008-03-21", 18, 18}, {"2008-03-22", 17, 17},
		{"2008-03-00", 17, 18}, {"2008-02-00", 18, 18}, {"2008-00-00", 17, 18}, {"2007-00-00", 18, 19},
		{"2008-04-00", 17, 17},
	} {
		b, err := ParseBirthDate(c.birth)
		if err != nil {
			t.Fatal(err)
		}
		if p, e := b.ProtectionAge(on), b.EntitlementAge(on); p != c.protection || e != c.entitlement {
			t.Errorf("%s: protection %d, entitlement %d; want %d, %d", c.birth, p, e, c.protection, c.entitlement)
		}
	}
	leap := BirthDate{2008, 2, 29}
	if leap.ProtectionAge(Date{2026, 2, 28}) != 17 || leap.ProtectionAge(Date{2026, 3, 1}) != 18 {
		t.Error("29 February completes its year on 1 March")
	}
}

func TestUnaccompaniedMinorAwaitsDecision(t *testing.T) {
	r := good()
	r.Person.BirthDate = BirthDate{2015, 0, 0}
	r.Person.Guardian = &Guardian{Kind: "none"}
	got, err := verifier(t).Verify(t.Context(), []byte(signed(t, r)))
	if err != nil {
		t.Fatal(err)
	}
	if !got.Record.NeedsDecision(now) {
		t.Error("an unaccompanied minor must wait for a decision")
	}
	adult := good()
	adult.Person.Guardian = &Guardian{Kind: "none"}
	if adult.NeedsDecision(now) {
		t.Error("an adult needs no decision")
	}
}

func TestRecheck(t *testing.T) {
	v := verifier(t)
	v.RequireJWE = true
	r := good()
	r.Bank = &Bank{IBAN: sampleIBAN, Account: "12345", PAN: "5892100000000016"}
	jws := signed(t, r)
	v.Now = func() time.Time { return now.AddDate(5, 0, 0) } // all has run out since
	got, err := v.Recheck([]byte(jws), now)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, got.Record); d != "" {
		t.Error(d)
	}
	_, err = v.Recheck([]byte(intakeKey().seal(t, jws, mediaType)), now)
	wantCode(t, err, NotJWS)
	v.Trust, _ = NewTrust(time.Time{}, nil) // the key has been withdrawn since
	_, err = v.Recheck([]byte(jws), now)
	wantCode(t, err, UnknownKey)
}

type deaf struct{}

func (deaf) OpenJWE(context.Context, string) ([]byte, error) { return nil, errors.New("token away") }

func TestHSMFailureIsNoRefusal(t *testing.T) {
	v := verifier(t)
	v.Opener = deaf{}
	_, err := v.Verify(t.Context(), []byte(intakeKey().seal(t, signed(t, good()), mediaType)))
	var ref *Refusal
	if err == nil || errors.As(err, &ref) {
		t.Errorf("got %v, want an error that is no refusal", err)
	}
	if _, err := (&Verifier{}).Verify(t.Context(), []byte("x")); err == nil || errors.As(err, &ref) {
		t.Errorf("got %v, want an error that is no refusal", err)
	}
}

func TestNothingOfThePersonIsPrinted(t *testing.T) {
	r := good()
	r.Bank = &Bank{IBAN: sampleIBAN, PAN: "5892100000000016"}
	v := Verified{Record: r, Signed: []byte(signed(t, good()))}
	out := fmt.Sprintf("%v %+v %#v %s %v %+v %#v %v %+v", v, v, v, r, &r, r.Person, r.Person.Photo, r.Person.Name, r.Bank)
	for _, secret := range []string{"100200300401", "رضایی", "Rezai", "1990", "255 216", "0xff", sampleIBAN, "eyJ"} {
		if strings.Contains(out, secret) {
			t.Errorf("%q is printed", secret)
		}
	}
}

func TestCodesAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Codes {
		if seen[c.Code] {
			t.Errorf("%s stands twice", c.Code)
		}
		seen[c.Code] = true
		if c.Status < 400 || c.Status > 499 || !strings.HasSuffix(c.Sentence, ".") {
			t.Errorf("%s: status %d, sentence %q", c.Code, c.Status, c.Sentence)
		}
	}
	if got := Refuse(PhotoSize, "", "1×1").Sentence(); !strings.HasSuffix(got, "must have (1×1).") {
		t.Errorf("sentence with detail: %q", got)
	}
	if Describe("strange").Status != 422 {
		t.Error("an unknown code must still be described")
	}
}

func TestIdentityCanonical(t *testing.T) {
	of := func(f func(*Person)) string {
		r := good()
		f(&r.Person)
		b, err := r.IdentityCanonical()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	same := of(func(*Person) {})
	if same != of(func(p *Person) { p.Name.Local.Family = "رضايي"; p.Name.Latin.Given = "MOHAMMAD" }) {
		t.Error("another spelling of the same letters is no change")
	}
	for name, f := range map[string]func(*Person){
		"name": func(p *Person) { p.Name.Latin.Family = "Ahmadi" }, "birth": func(p *Person) { p.BirthDate.Day = 0 },
		"photo": func(p *Person) { p.Photo.Data = append(bytes.Clone(p.Photo.Data), 0) },
		"shift": func(p *Person) { p.Name.Local = Name{Family: "رضایی محمد"} },
	} {
		if same == of(f) {
			t.Errorf("a changed %s must show", name)
		}
	}
}

func FuzzVerify(f *testing.F) {
	v := verifier(f)
	jws := signed(f, good())
	f.Add([]byte(jws))
	f.Add([]byte(intakeKey().seal(f, jws, mediaType)))
	f.Add([]byte("e30.e30."))
	f.Add([]byte("eyJhbGciOiJFUzI1NiJ9..."))
	f.Fuzz(func(t *testing.T, line []byte) {
		out, err := v.Verify(t.Context(), line)
		var ref *Refusal
		if err == nil && out.Record.RecordID != good().RecordID || err != nil && !errors.As(err, &ref) {
			t.Errorf("out %v, err %v", out, err)
		}
	})
}

// FuzzPayload sees what a registry could sign.
func FuzzPayload(f *testing.F) {
	v := verifier(f)
	key := keys().es.trust()
	f.Add(payloadOf(f, good()))
	f.Add([]byte(`{"schema":"verified-record/1","person":{"photo":{"data":"AAAA"}}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		tree, err := parseTree(payload)
		if err != nil || checkSchema(tree) != nil {
			return
		}
		var r reader
		rec := r.record(tree)
		if r.err != nil || v.check(&rec, &key, now, true) != nil {
			return
		}
		if _, err := rec.MRZName(); err != nil {
			t.Errorf("an accepted record has no MRZ name: %v", err)
		}
		// What was read is what was signed.
		again, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		tree2, err := parseTree(again)
		if err != nil {
			t.Fatal(err)
		}
		var r2 reader
		if d := cmp.Diff(rec, r2.record(tree2)); d != "" || r2.err != nil {
			t.Errorf("%v %s", r2.err, d)
		}
	})
}

func BenchmarkVerify20KB(b *testing.B) {
	v := verifier(b)
	r := good()
	// A comment segment makes the portrait as long as a real one.
	p := r.Person.Photo.Data
	fill := bytes.Repeat([]byte{'x'}, 15000-len(p))
	r.Person.Photo.Data = append(append([]byte{0xFF, 0xD8, 0xFF, 0xFE, byte((len(fill) + 2) >> 8), byte(len(fill) + 2)}, fill...), p[2:]...)
	line := []byte(signed(b, r))
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), line); err != nil {
			b.Fatal(err)
		}
	}
}
