package endtoend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"cardbureau/cardio/virtual/rack"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/record"
	"cardbureau/personalization/record/sample"
)

// TestNothingLeaks makes cards with every log on, in good and in bad ways, and
// then searches all that was printed, logged, answered, counted and stored for
// names, numbers, photos, keys and PINs of every person and card. Free to hold
// them are only the records' own files, the software chips and the token.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 12, "CARDBUREAU_LOG=debug")
	s := &secrets{house: h, t: t, needles: newNeedles()}
	good, bad := s.signed()
	s.work(good, bad)
	s.chips(6)
	for _, name := range []string{"pin", "so-pin"} {
		b, err := os.ReadFile(filepath.Join(h.dir, "softhsm", name))
		if err != nil {
			t.Fatal(err)
		}
		s.needles.value("token "+name, bytes.TrimSpace(b))
	}
	db := h.database()
	for _, f := range s.everything(db) {
		t.Errorf("found: %s", f)
	}

	// Would it have been found? In a table, its files, a log, a running file.
	if t.Failed() {
		return
	}
	p := s.people[0].Person
	if _, err := db.conn.Exec(t.Context(), "INSERT INTO actor (id, kind, name) VALUES ($1, 'program', $2)", uuid.New(), p.Name.Local.Given); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "run", "canary"), []byte("can: "+s.can), 0o600); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&h.log, "level=DEBUG msg=%x", p.Photo.Data)
	found := strings.Join(s.everything(db), "\n")
	for _, want := range []string{
		"person 0: name in table cardbureau.actor", "person 0: name in file postgres/base/", "person 0: name in file postgres/pg_wal/",
		"CAN in file run/canary", "person 0: photo in output",
	} {
		if !strings.Contains(found, want) {
			t.Errorf("planted, not found: %s", want)
		}
	}
}

// secrets is a run whose secrets are known.
type secrets struct {
	*house
	t       *testing.T
	needles *needles
	people  []record.Record
	own     []string          // files of the test itself
	can     string            // of one card
	pans    []string          // of all cards
	pins    map[string]string // of the accounts, by last four digits
	apiKey  string
}

// Names that stand nowhere by chance.
var (
	localNames = []string{"قوشقربان\u200cزاده", "گل\u200cاندام\u200cپور", "جهانگشایان", "زمردنشین\u200cفر", "خورشیدسوار", "ستاره\u200cشناسیان", "مهتاب\u200cنوردیان", "پرنیان\u200cپوشان"}
	latinNames = []string{"Qushqurbanzadah", "Gulandampoor", "Jahangoshayan", "Zomorodneshin", "Khorshidsawar", "Setareshenas", "Mahtabnaward", "Parniyanposh"}
)

// person is record i with a name that cannot be met by chance.
func (s *secrets) person(i int) record.Record {
	r := sample.Make(sample.Options{Seed: 7, Audience: "bureau-1", IssuedAt: time.Now().Add(-time.Hour)}, i)
	n := len(localNames)
	r.Person.Name = record.Names{
		Local: record.Name{Family: localNames[i%n] + localNames[(i/n+1)%n], Given: localNames[(i+3)%n]},
		Latin: record.Name{Family: latinNames[i%n] + latinNames[(i/n+2)%n], Given: latinNames[(i+3)%n]},
	}
	if i%3 == 2 {
		r.Person.Name.Latin = record.Name{} // left to the transliteration
	}
	r.Person.FatherName = &record.Bilingual{Local: localNames[(i+5)%n], Latin: latinNames[(i+5)%n]}
	s.note(len(s.people), r)
	s.people = append(s.people, r)
	return r
}

// note makes a person's data needles.
func (s *secrets) note(i int, r record.Record) {
	p := r.Person
	kind := func(what string) string { return fmt.Sprintf("person %d: %s", i, what) }
	for _, name := range []string{p.Name.Local.Family, p.Name.Local.Given, p.Name.Latin.Family, p.Name.Latin.Given, p.FatherName.Local, p.FatherName.Latin} {
		s.needles.text(kind("name"), name)
	}
	if mrz, err := r.MRZName(); err == nil {
		s.needles.text(kind("MRZ name"), mrz.Primary)
		s.needles.text(kind("MRZ name"), mrz.Secondary)
	}
	s.needles.number(kind("unique id"), p.UniqueID)
	s.needles.photo(kind("photo"), p.Photo.Data)
	for _, d := range p.LegacyDocuments {
		s.needles.number(kind("old document"), d.Number)
	}
	if r.Bank != nil {
		s.needles.text(kind("IBAN"), r.Bank.IBAN)
		s.needles.number(kind("PAN"), r.Bank.PAN)
	}
}

// signed makes good records, and bad ones of each kind that has something to
// say about its content.
func (s *secrets) signed() (good, bad [][]byte) {
	t := s.t
	b, err := bureau.Open(t.Context(), s.dir, bureau.Options{Agent: []string{program, "hsm", "agent"}, NoStore: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	sign := func(payload []byte) []byte {
		jws, err := b.Vault.SignTestRecord(t.Context(), payload)
		if err != nil {
			t.Fatal(err)
		}
		return []byte(jws)
	}
	marshal := func(v any) []byte {
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for i := range 6 {
		r := s.person(i)
		good = append(good, sign(marshal(r)))
		// A signed record is kept sealed: no part of it stands anywhere.
		part := good[i][len(good[i])/2:]
		s.needles.value(fmt.Sprintf("person %d: signed record", i), part[:48])
	}
	next := 6
	change := func(f func(*record.Record)) {
		r := s.person(next)
		next++
		f(&r)
		s.note(len(s.people)-1, r)
		bad = append(bad, sign(marshal(r)))
	}
	tree := func(f func(record map[string]any, person map[string]any, r record.Record)) {
		r := s.person(next)
		next++
		var m map[string]any
		if err := json.Unmarshal(marshal(r), &m); err != nil {
			t.Fatal(err)
		}
		f(m, m["person"].(map[string]any), r)
		bad = append(bad, sign(marshal(m)))
	}
	// The sense of it.
	change(func(r *record.Record) { r.Person.Photo.Data = r.Person.Photo.Data[:9000] })
	change(func(r *record.Record) { r.Person.Name.Local.Given += "ݿ"; r.Person.Name.Latin = record.Name{} })
	change(func(r *record.Record) { r.Person.Name.Local.Given = r.Person.Name.Latin.Given })
	change(func(r *record.Record) { r.Person.Name.Latin.Given = r.Person.Name.Local.Given })
	change(func(r *record.Record) { r.Person.Guardian = nil; r.Person.BirthDate.Year = time.Now().Year() - 5 })
	change(func(r *record.Record) { r.Person.BirthDate.Year = time.Now().Year() + 5 })
	change(func(r *record.Record) { r.Person.Nationality = "AF" })
	change(func(r *record.Record) { r.Audience = r.Person.Name.Latin.Family })
	change(func(r *record.Record) {
		const account = "0150000001234567890123"
		r.Bank = &record.Bank{IBAN: "IR" + record.IBANDigits("IR", account) + account, Account: "12345678", PAN: "5892100000000016", CardholderName: r.Person.Name.Latin.Family}
	})
	change(func(r *record.Record) { r.Person.UniqueID = s.people[0].Person.UniqueID; r.RecordID = uuid.NewString() })
	change(func(r *record.Record) { r.RecordID = s.people[0].RecordID })
	// The schema: values where they do not belong, and as names.
	tree(func(_, p map[string]any, r record.Record) { p["sex"] = r.Person.UniqueID })
	tree(func(_, p map[string]any, r record.Record) { p[r.Person.Name.Local.Family] = r.Person.UniqueID })
	tree(func(m, _ map[string]any, r record.Record) { m["reason"] = r.Person.Name.Local.Family })
	tree(func(m, _ map[string]any, r record.Record) { m["recordId"] = r.Person.UniqueID })
	tree(func(_, p map[string]any, r record.Record) { p["birthDate"] = r.Person.Name.Latin.Family })
	tree(func(m, _ map[string]any, r record.Record) { m["residence"] = r.Person.Name.Local.Family })
	// The wrapping.
	r := s.person(next)
	whole := sign(marshal(r))
	bad = append(bad, append(bytes.Clone(whole[:len(whole)-6]), "AAAAAA"...))                                 // signature
	bad = append(bad, sign([]byte(`{"person":"`+r.Person.Name.Local.Family+`"`)))                             // not JSON
	bad = append(bad, []byte(`{"name":"`+r.Person.Name.Local.Family+`","uniqueId":"`+r.Person.UniqueID+`"}`)) // not JWS
	bad = append(bad, whole[:len(whole)-100])                                                                 // cut
	return good, bad
}

// work runs a bureau's day.
func (s *secrets) work(good, bad [][]byte) {
	t, h := s.t, s.house
	readers, r := h.readers(2)
	serve := h.start("serve", "--listen", "127.0.0.1:0", "--json")
	var ready struct{ URL string }
	if err := json.Unmarshal(bytes.SplitAfter(serve.ready(), []byte("\n"))[0], &ready); err != nil {
		t.Fatal(err)
	}
	key := h.start("api-key", "create", "registry", "--scope", "records,orders,metrics")
	if key.wait() != 0 {
		t.Fatal(key.stderr.String())
	}
	s.apiKey = strings.TrimSpace(key.stdout.String()) // printed once, on purpose
	s.needles.value("API key", []byte(s.apiKey))

	// By API: half of the good ones and all bad ones, as a batch and one by one.
	answers := s.post(ready.URL+"/v1/records:batch", "application/x-ndjson", lines(append(good[:2:2], bad...)))
	if n := bytes.Count(answers, []byte(`"status":"accepted"`)); n != 2 {
		t.Fatalf("%d records of the batch were accepted\n%s", n, answers)
	}
	for _, one := range append(good[2:3:3], bad...) {
		s.post(ready.URL+"/v1/records", "application/jose", one)
	}
	h.must(0, "lot", "release", "by API")
	// By file, with two cards in hand when the line is killed.
	file := filepath.Join(h.dir, "records.jws")
	s.own = append(s.own, file)
	if err := os.WriteFile(file, lines(append(good[3:6:6], bad...)), 0o600); err != nil {
		t.Fatal(err)
	}
	k := &killing{house: h, t: t, rack: r, db: h.database()}
	// All that goes to the cards is traced: the traces lie in the house, to be
	// searched.
	traced := []string{file, "--trace", filepath.Join(h.dir, "traces")}
	trace := func(name string) string { return filepath.Join(h.dir, "traces", name) }
	issue := k.inHand(traced, point{60, false}, point{110, true})
	k.db.close()
	// What others on the machine see of a running bureau.
	for _, p := range users(h.dir) {
		fmt.Fprintf(&h.log, "%s %s\n", p.command, added(p.pid))
	}
	issue.kill()
	h.keep(issue)
	k.letGo(2)
	doubts := h.count().InDoubt
	if len(doubts) != 2 {
		t.Fatalf("in doubt: %+v", doubts)
	}
	if r := h.issue(traced, 3, 4); r.Issued != 4 {
		t.Fatalf("%+v", r)
	}
	h.insert(r, doubts[0].Blank)
	h.must(0, "card", "resume", "--trace", trace("resume.jsonl"))
	h.must(0, "stock", "resolve", doubts[1].Attempt, "--reason", "torn", "--first", "amini", "--second", "rahmani")
	h.issue(nil, 0)

	// A card is looked at, with its CAN and with another one.
	_, files := s.files("virtual/issued")
	can := s.read(files[0]).can
	h.insert(r, strings.TrimSuffix(filepath.Base(files[0]), ".card"))
	h.must(0, "card", "inspect", "--trace", trace("inspect.jsonl"))
	s.verify(can, 0)
	wrong := "000000"
	if can == wrong {
		wrong = "000001"
	}
	s.verify(wrong, 1)
	h.order(r, rack.Request{Op: "remove"})
	s.traces()

	s.get(ready.URL + "/metrics")
	s.get(ready.URL + "/v1/orders/" + doubts[0].Order)
	s.get(ready.URL + "/v1/orders/" + s.people[0].Person.UniqueID)
	s.get(ready.URL + "/v1/health")
	h.must(0, "stock", "sheet", "--out", filepath.Join(h.dir, "sheet.pdf"))
	h.must(0, "audit", "verify")
	h.must(0, "hsm", "keys")
	// The PC/SC daemon's own words, which go with it.
	b, err := os.ReadFile(filepath.Join(folders(t, h.dir)[1], "pcscd.log"))
	if err != nil {
		t.Fatal(err)
	}
	h.log.Write(b)
	for _, p := range []*process{serve, readers} {
		p.stop()
		h.keep(p)
	}
}

// traces holds the traces to their form, and to having something to search.
func (s *secrets) traces() {
	t := s.t
	files, err := filepath.Glob(filepath.Join(s.dir, "traces", "*.jsonl"))
	if err != nil || len(files) < 2+2+4 {
		t.Fatalf("traces: %q, %v", files, err)
	}
	apdus, inside := 0, 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		inside += bytes.Count(text, []byte(`"inside":{"header":"80E2`))
		s.must(0, "card", "trace", name)
		var sums struct{ APDUs, Secured, Failed int }
		if err := json.Unmarshal(s.must(0, "card", "trace", name, "--json"), &sums); err != nil {
			t.Fatal(err)
		}
		apdus += sums.APDUs
	}
	if apdus < 4*50 || inside < 4*5 {
		t.Errorf("%d APDUs were traced, %d with STORE DATA inside", apdus, inside)
	}
}

// added are the environment variables of a process that this one does not have.
func added(pid int) (out []string) {
	own := os.Environ()
	environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	for v := range strings.SplitSeq(string(environ), "\x00") {
		if !slices.Contains(own, v) {
			out = append(out, v)
		}
	}
	return out
}

func lines(records [][]byte) []byte { return append(bytes.Join(records, []byte("\n")), '\n') }

// verify runs card verify with a CAN.
func (s *secrets) verify(can string, status int) {
	s.t.Helper()
	p := launch(s.t, append(s.env, "CARDBUREAU_CAN="+can), program, "card", "verify", "--data", s.dir, "--trace", filepath.Join(s.dir, "traces", "verify "+strconv.Itoa(status)+".jsonl"))
	if _, got := s.finish(p); got != status {
		s.t.Fatalf("card verify ended with %d\n%s%s", got, p.stdout.String(), p.stderr.String())
	}
}

// post sends a body and keeps the answer as output.
func (s *secrets) post(url, kind string, body []byte) []byte {
	return s.ask(http.MethodPost, url, kind, bytes.NewReader(body))
}

func (s *secrets) get(url string) []byte { return s.ask(http.MethodGet, url, "", nil) }

func (s *secrets) ask(method, url, kind string, body io.Reader) []byte {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, url, body)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.apiKey)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	fmt.Fprintf(&s.log, "\n%s: %s %v\n%s\n", method, res.Status, res.Header, answer)
	return answer
}
