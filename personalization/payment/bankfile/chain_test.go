package bankfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestChain(t *testing.T) {
	f := issuing(t)
	_, first := write(t, f, CSV)
	f.Sequence, f.Previous = 2, first.Digest
	b, second := write(t, f, Fixed) // the form may change: a digest is of bytes
	if err := errors.Join(first.Follows(nil), second.Follows(&first)); err != nil {
		t.Error(err)
	}
	other := first
	other.Digest[0] ^= 1
	kind := first
	kind.Kind = KindReconciliation
	for name, err := range map[string]error{
		"again": first.Follows(&first), "missing": second.Follows(nil), "other file": second.Follows(&other), "other kind": second.Follows(&kind),
	} {
		if !errors.Is(err, ErrChain) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, info, err := Read(bytes.NewReader(b)); err != nil || info.Follows(&first) != nil {
		t.Error(err)
	}
}

func TestAnswersFile(t *testing.T) {
	_, sent := write(t, issuing(t), CSV)
	if err := acknowledgement(sent).AnswersFile(sent); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Acknowledgement){
		"kind": func(a *Acknowledgement) { a.OfKind = KindReconciliation }, "number": func(a *Acknowledgement) { a.OfSequence++ },
		"digest": func(a *Acknowledgement) { a.OfDigest[0]++ }, "record": func(a *Acknowledgement) { a.Answers[2].Of = 9 },
	} {
		a := acknowledgement(sent)
		spoil(a)
		if err := a.AnswersFile(sent); !errors.Is(err, ErrAnswers) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused := acknowledgement(sent)
	refused.File, refused.Answers, refused.OfDigest = FileUnreadable, nil, Digest{}
	if err := refused.AnswersFile(sent); err != nil || refused.File.Text() == "" {
		t.Error(err)
	}
	for _, c := range append(append([]Code{}, lineCodes...), fileCodes...) {
		if c.Text() == "" {
			t.Errorf("code %s has no text", c)
		}
	}
}

func TestBalance(t *testing.T) {
	for name, spoil := range map[string]func(*Reconciliation){
		"lost":       func(f *Reconciliation) { f.Balances[1].Out, f.Balances[1].Closing = 8, 1 },
		"unassigned": func(f *Reconciliation) { f.Balances[0].Out, f.Balances[0].Closing = 1, 8 },
		"opening":    func(f *Reconciliation) { f.Balances[0].Opening, f.Balances[0].In = 1, 8 },
		"order":      func(f *Reconciliation) { f.Balances[1], f.Balances[2] = f.Balances[2], f.Balances[1] },
		"class":      func(f *Reconciliation) { f.Balances = f.Balances[:6] },
		"range":      func(f *Reconciliation) { f.Ranges = append(f.Ranges, f.Ranges[0]) },
	} {
		f := reconciliation()
		spoil(f)
		if _, err := Write(&bytes.Buffer{}, f, CSV); !errors.Is(err, ErrBalance) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, spoil := range map[string]func(*Reconciliation){
		"gap":   func(f *Reconciliation) { f.Ranges[0].Taken = 8 },
		"full":  func(f *Reconciliation) { f.Ranges[0].Size = 6 },
		"file":  func(f *Reconciliation) { f.Files = []FileTotals{{Sequence: 1, Records: 2, Open: 1}} },
		"files": func(f *Reconciliation) { f.Files = []FileTotals{{Sequence: 1}, {Sequence: 3}} },
	} {
		f := reconciliation()
		spoil(f)
		if _, err := Write(&bytes.Buffer{}, f, CSV); !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpens(t *testing.T) {
	first, next := reconciliation(), reconciliation()
	for i := range next.Balances {
		next.Balances[i] = Balance{Class: Classes[i], Opening: first.Balances[i].Closing, Closing: first.Balances[i].Closing}
	}
	next.Ranges = []RangeUse{{"sepah-1", 1_000_000, 7, 1, 8}, {"sepah-2", 10, 0, 0, 0}}
	if err := errors.Join(first.Opens(nil), next.Opens(first)); err != nil {
		t.Error(err)
	}
	lost := *next
	lost.Ranges = next.Ranges[1:]
	gap := *next
	gap.Ranges = []RangeUse{{"sepah-1", 1_000_000, 8, 1, 9}}
	for name, err := range map[string]error{"from nothing": next.Opens(nil), "again": first.Opens(first), "range": lost.Opens(first), "PANs": gap.Opens(first)} {
		if !errors.Is(err, ErrBalance) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPython runs the reader of docs/bank-files.md, which shares nothing with this
// package, over the CSV files and over altered ones.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	doc, err := os.ReadFile("../../../docs/bank-files.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "```python\n")
	script, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/bank-files.md has no script")
	}
	run := func(b []byte) (string, error) {
		path := t.TempDir() + "/file.csv"
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(python, "-c", script, path).CombinedOutput()
		return string(out), err
	}
	f := issuing(t)
	good, info := write(t, f, CSV)
	if out, err := run(good); err != nil || !strings.Contains(out, info.Digest.String()) || !strings.Contains(out, "8 records") {
		t.Errorf("%v %s", err, out)
	}
	if out, err := run(bytes.Replace(good, []byte("spoiled,2026"), []byte("issued,2026"), 1)); err == nil {
		t.Errorf("takes an altered file: %s", out)
	}
}

// TestDocument holds the tables of docs/bank-files.md against the fields: position,
// name and kind of value of each.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile("../../../docs/bank-files.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	table := func(title string, fields []field) {
		_, section, ok := strings.Cut(doc, "\n### "+title+"\n")
		if !ok {
			t.Errorf("no table %q", title)
			return
		}
		section, _, _ = strings.Cut(section, "\n\n")
		at := 2
		for _, f := range fields {
			row := fmt.Sprintf("| %d–%d | `%s` | ", at, at+f.width-1, f.name)
			if f.width == 1 {
				row = fmt.Sprintf("| %d | `%s` | ", at, f.name)
			}
			if f.number {
				row += "N"
			} else {
				row += "T"
			}
			if !strings.Contains(section, row+" |") {
				t.Errorf("%s lacks %s |", title, row)
			}
			at += f.width
		}
		if at > LineLength+1 {
			t.Errorf("%s has %d characters", title, at-1)
		}
	}
	var n uint64
	for _, k := range kinds {
		f := newFile(k)
		table("Header `H` of "+string(k), f.headFields())
		for _, code := range []byte(f.details()) {
			table(fmt.Sprintf("Record `%c` of %s", code, k), append([]field{number("line", 8, &n)}, f.grow(code)...))
		}
		table("Trailer `T` of "+string(k), trailer(f, &Digest{}))
	}
	for _, c := range append(append([]Code{}, lineCodes...), fileCodes...) {
		if !strings.Contains(doc, fmt.Sprintf("| %s | %s |", c, c.Text())) {
			t.Errorf("code %s is not described", c)
		}
	}
}
