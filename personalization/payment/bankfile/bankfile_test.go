package bankfile

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cardbureau/personalization/payment"
)

var update = flag.Bool("update", false, "write the files in testdata anew")

var (
	day     = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	created = time.Date(2026, 11, 25, 18, 30, 5, 0, time.UTC)
)

func account(t testing.TB, n int) string {
	t.Helper()
	iban, err := payment.IBAN("015", 0, fmt.Sprintf("%d", 1234567890+n))
	if err != nil {
		t.Fatal(err)
	}
	return iban
}

func pattern(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

func issuing(t testing.TB) *Issuing {
	expiry := time.Date(2031, 12, 1, 0, 0, 0, 0, time.UTC)
	row := func(n int, s Status) Issue {
		return Issue{Token: pattern(byte(0xA0+n), 16), First6: "589210", Last4: fmt.Sprintf("%04d", 16+8*n), Sequence: uint64(n % 3),
			IBAN: account(t, n), Expiry: expiry, Status: s, Date: day}
	}
	taken := Issue{IBAN: account(t, 9), Status: Withdrawn, Date: day.AddDate(0, 0, -1)}
	early := row(5, Voided) // before a card's data was made
	early.Expiry = time.Time{}
	return &Issuing{Header{"CARDBUREAU", "SEPAH", 1, Digest{}, day, created}, 1,
		[]Issue{row(0, Issued), row(1, Replaced), row(2, Spoiled), row(2, Voided), row(2, Issued), row(4, Withdrawn), taken, early}}
}

func reconciliation(sent ...Info) *Reconciliation {
	f := &Reconciliation{Header: Header{"CARDBUREAU", "SEPAH", 1, Digest{}, day, created},
		Balances: []Balance{{Assigned, 0, 9, 0, 9}, {Waiting, 0, 9, 7, 2}, {InProgress, 0, 5, 5, 0}, {InDoubt, 0, 1, 0, 1},
			{ClassIssued, 0, 3, 0, 3}, {ClassSpoiled, 0, 1, 0, 1}, {ClassWithdrawn, 0, 2, 0, 2}},
		Ranges: []RangeUse{{"sepah-1", 1_000_000, 0, 7, 7}}}
	for _, i := range sent {
		f.Files = append(f.Files, TotalsOf(i))
	}
	return f
}

func acknowledgement(sent Info) *Acknowledgement {
	return &Acknowledgement{Header: Header{"SEPAH", "CARDBUREAU", 1, Digest{}, day.AddDate(0, 0, 1), created.AddDate(0, 0, 1)},
		OfKind: sent.Kind, OfSequence: sent.Sequence, OfDigest: sent.Digest, File: Accepted,
		Answers: []Answer{{1, Accepted}, {2, NotTogether}, {4, Accepted}}}
}

func write(t testing.TB, f File, format Format) ([]byte, Info) {
	t.Helper()
	var b bytes.Buffer
	info, err := Write(&b, f, format)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), info
}

// samples are the three files in both forms, each chain in one form.
func samples(t testing.TB) map[string][]byte {
	all := map[string][]byte{}
	for _, format := range []Format{CSV, Fixed} {
		b, sent := write(t, issuing(t), format)
		all["issuing."+string(format)] = b
		all["reconciliation."+string(format)], _ = write(t, reconciliation(sent), format)
		all["acknowledgement."+string(format)], _ = write(t, acknowledgement(sent), format)
	}
	return all
}

// TestLayout holds the layout still: what a bank reads today it can read tomorrow.
func TestLayout(t *testing.T) {
	for name, got := range samples(t) {
		path := "testdata/" + name
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for _, format := range []Format{CSV, Fixed} {
		_, sent := write(t, issuing(t), format)
		refused := acknowledgement(sent)
		refused.File, refused.Answers = FileOutOfOrder, nil
		for _, f := range []File{issuing(t), &Issuing{Header: issuing(t).Header, DayNumber: 1}, reconciliation(sent), acknowledgement(sent), refused} {
			b, info := write(t, f, format)
			back, again, err := Read(bytes.NewReader(b))
			if err != nil {
				t.Errorf("%s %s: %v", f.Kind(), format, err)
				continue
			}
			if diff := cmp.Diff(f, back, cmp.Transformer("fields", func(i Issue) []any {
				return []any{i.Token, i.First6, i.Last4, i.Sequence, i.IBAN, i.Expiry, i.Status, i.Date}
			})); diff != "" {
				t.Errorf("%s %s: %s", f.Kind(), format, diff)
			}
			if diff := cmp.Diff(info, again); diff != "" {
				t.Errorf("%s %s: %s", f.Kind(), format, diff)
			}
			for n, line := range bytes.Split(bytes.TrimSuffix(b, []byte(lineEnd)), []byte(lineEnd)) {
				if format == Fixed && len(line) != LineLength {
					t.Errorf("%s line %d has %d characters", f.Kind(), n+1, len(line))
				}
			}
		}
	}
}

func TestTotals(t *testing.T) {
	f := issuing(t)
	_, info := write(t, f, CSV)
	var last4 uint64
	for _, r := range f.Rows {
		var n uint64
		fmt.Sscan(strings.TrimLeft(r.Last4, "0"), &n)
		last4 += n
	}
	want := map[string]uint64{"issued": 2, "replaced": 1, "spoiled": 1, "voided": 2, "withdrawn": 2, "last4_total": last4, "iban_total": info.Totals["iban_total"]}
	if diff := cmp.Diff(want, info.Totals); diff != "" || info.Records != 8 {
		t.Error(diff, info.Records)
	}
}

// TestAltered changes every single byte of every file, and takes away and doubles
// every line: none is read.
func TestAltered(t *testing.T) {
	for name, good := range samples(t) {
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 7)
			if _, _, err := Read(bytes.NewReader(bad)); !errors.Is(err, ErrFile) {
				t.Fatalf("%s: read with byte %d altered: %v", name, i, err)
			}
		}
		rows := bytes.SplitAfter(good, []byte(lineEnd))
		rows = rows[:len(rows)-1]
		for i := range rows {
			without := bytes.Join(append(append([][]byte{}, rows[:i]...), rows[i+1:]...), nil)
			twice := bytes.Join(append(append(append([][]byte{}, rows[:i+1]...), rows[i]), rows[i+1:]...), nil)
			for _, bad := range [][]byte{without, twice} {
				if _, _, err := Read(bytes.NewReader(bad)); !errors.Is(err, ErrFile) {
					t.Fatalf("%s: read with line %d once too often or too seldom: %v", name, i+1, err)
				}
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	good := samples(t)
	change := func(name, old, to string) []byte {
		if !bytes.Contains(good[name], []byte(old)) {
			t.Fatalf("%s has no %q", name, old)
		}
		return bytes.Replace(good[name], []byte(old), []byte(to), 1)
	}
	iban := account(t, 0)
	for name, x := range map[string]struct {
		file []byte
		says string
	}{
		"nothing":       {nil, "line 1: the file ends without a trailer"},
		"line feeds":    {bytes.ReplaceAll(good["issuing.csv"], []byte("\r\n"), []byte("\n")), "line 1: does not end with CR LF"},
		"another file":  {[]byte("serial,chip,batch\r\n"), "line 1: is neither"},
		"cut":           {good["issuing.csv"][:bytes.LastIndex(good["issuing.csv"], []byte("T,"))], "line 11: the file ends without a trailer"},
		"more":          {append(bytes.Clone(good["issuing.fixed"]), bytes.Repeat([]byte{' '}, 240)...), "does not end with CR LF"},
		"long":          {bytes.Repeat([]byte("x"), 3000), "line 1: is longer than"},
		"short row":     {change("issuing.csv", ",,,,", ",,,"), "line 2: has"},
		"IBAN of 25":    {change("issuing.csv", iban, iban[:25]), "line 3: iban is not an Iranian IBAN"},
		"formula":       {change("issuing.csv", iban, "=HYPERLINK(1)"), "line 3: iban has a character"},
		"status":        {change("issuing.csv", ",replaced,2", ",sent,2"), "line 4: status is not one of the words"},
		"expiry":        {change("issuing.csv", "203112", "203113"), "line 3: expiry is not a month"},
		"number":        {change("issuing.csv", "D,,,,,,,,,,1,", "D,,,,,,,,,,01,"), "line 3: line is no number"},
		"numbering":     {change("issuing.csv", "D,,,,,,,,,,2,", "D,,,,,,,,,,3,"), "line 4: line is not the record's number, 2"},
		"stray value":   {change("issuing.csv", "D,,", "D,ISSUE,"), "line 3: has a value in column kind"},
		"version":       {change("issuing.csv", "ISSUE,1,", "ISSUE,2,"), "line 2: version is not 1"},
		"previous":      {change("issuing.csv", "SEPAH,1,", "SEPAH,2,"), "line 2: previous is the digest"},
		"record code":   {change("issuing.fixed", "\r\nD", "\r\nX"), "line 2: begins with a record code"},
		"fixed number":  {change("issuing.fixed", "D00000001", "D 0000001"), "line 2: line is no number"},
		"no balance":    {change("reconciliation.csv", "issued,0,3,0,3", "issued,0,4,0,4"), "is not what the lines give"},
		"balance line":  {change("reconciliation.csv", "issued,0,3,0,3", "issued,0,4,0,3"), "closing is not opening + in - out"},
		"answer":        {change("acknowledgement.csv", "4,00", "4,77"), "code is not one of the words"},
		"answers twice": {change("acknowledgement.csv", "4,00", "2,00"), "ascending order"},
	} {
		_, _, err := Read(bytes.NewReader(x.file))
		var line *LineError
		if !errors.Is(err, ErrFile) || !errors.As(err, &line) || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v, want %q", name, err, x.says)
		}
		if err != nil && (strings.Contains(err.Error(), iban[4:20]) || strings.Contains(err.Error(), "HYPERLINK")) {
			t.Errorf("%s: the error repeats the file: %v", name, err)
		}
	}
}

// TestQuoted reads a file that another program wrote with quotes around every value,
// which RFC 4180 allows; line hash and digest are of the lines as they stand.
func TestQuoted(t *testing.T) {
	b, _ := write(t, acknowledgement(Info{Kind: KindIssuing, Sequence: 3}), CSV)
	var out bytes.Buffer
	var running Digest
	rows := strings.Split(strings.TrimSuffix(string(b), lineEnd), lineEnd)
	for i, row := range rows {
		values := strings.Split(row, ",")
		if i == len(rows)-1 {
			values[len(values)-1] = running.String()
		}
		line := `"` + strings.Join(values, `","`) + `"`
		running = link(running, []byte(line))
		out.WriteString(line + lineEnd)
	}
	f, info, err := As[*Acknowledgement](bytes.NewReader(out.Bytes()))
	if err != nil || len(f.Answers) != 3 || info.Totals["of_line_total"] != 7 {
		t.Error(err)
	}
	if _, _, err := As[*Issuing](bytes.NewReader(out.Bytes())); !errors.Is(err, ErrFile) {
		t.Error(err)
	}
}

func TestWriteRefuses(t *testing.T) {
	for name, x := range map[string]struct {
		spoil func(*Issuing)
		says  string
	}{
		"IBAN":          {func(f *Issuing) { f.Rows[1].IBAN = f.Rows[1].IBAN[:25] }, "record 2: iban is not"},
		"token":         {func(f *Issuing) { f.Rows[0].Token = []byte("5892100000000") }, "record 1: pan_token does not have"},
		"no token":      {func(f *Issuing) { f.Rows[0].Token = nil }, "record 1: pan_token and pan are needed"},
		"no expiry":     {func(f *Issuing) { f.Rows[2].Expiry = time.Time{} }, "record 3: expiry is needed"},
		"no day number": {func(f *Issuing) { f.DayNumber = 0 }, "day_number is counted from 1"},
		"whole PAN":     {func(f *Issuing) { f.Rows[0].First6 = "589210000000" }, "record 1: pan is not"},
		"sequence":      {func(f *Issuing) { f.Rows[0].Sequence = 100 }, "record 1: pan_sequence has more"},
		"status":        {func(f *Issuing) { f.Rows[0].Status = "=1+1" }, "record 1: status is not"},
		"late":          {func(f *Issuing) { f.Rows[0].Date = day.AddDate(0, 0, 1) }, "record 1: date is needed"},
		"twice":         {func(f *Issuing) { f.Rows[1].Token, f.Rows[1].Sequence = f.Rows[0].Token, 0 }, "records 1 and 2"},
		"sender":        {func(f *Issuing) { f.Sender = "@SUM(A1)" }, "header: sender is not"},
		"PAN as sender": {func(f *Issuing) { f.Sender = "5892100000000016" }, "header: sender is not"},
		"first":         {func(f *Issuing) { f.Previous[0] = 1 }, "header: previous"},
		"no day":        {func(f *Issuing) { f.Day = time.Time{} }, "header: day"},
		"many":          {func(f *Issuing) { f.Rows = make([]Issue, MaxRecords+1) }, "at most 100000"},
	} {
		f := issuing(t)
		x.spoil(f)
		var out bytes.Buffer
		if _, err := Write(&out, f, CSV); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), x.says) || out.Len() > 0 {
			t.Errorf("%s: %v and %d bytes, want %q", name, err, out.Len(), x.says)
		}
	}
	if _, err := Write(&bytes.Buffer{}, issuing(t), "xml"); !errors.Is(err, ErrFile) {
		t.Error(err)
	}
	r := reconciliation()
	r.Ranges[0].Name = "-1"
	if _, err := Write(&bytes.Buffer{}, r, CSV); !errors.Is(err, ErrFile) {
		t.Error(err)
	}
}

// TestNoFormula looks at every value of every CSV file as a spreadsheet would.
func TestNoFormula(t *testing.T) {
	for name, b := range samples(t) {
		if !strings.HasSuffix(name, ".csv") {
			continue
		}
		rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			for _, value := range row {
				if strings.ContainsAny(value, "=+@|\t\r\n\"',;()") || strings.HasPrefix(value, "-") {
					t.Errorf("%s has %q", name, value)
				}
			}
		}
	}
}

func TestRedacted(t *testing.T) {
	f := issuing(t)
	text := fmt.Sprintf("%v %+v %#v %s %d %x", f, f, f.Rows, f.Rows[0], f.Rows, f.Rows)
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if text += string(b); strings.Contains(text, f.Rows[0].IBAN) || strings.Contains(text, fmt.Sprintf("%x", f.Rows[0].IBAN)) {
		t.Error("an IBAN is printed")
	}
}
