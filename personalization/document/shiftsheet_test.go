package document

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var opened = time.Date(2026, 3, 1, 6, 0, 0, 0, time.FixedZone("Tehran", 3*3600+1800))

func sheet() ShiftSheet {
	return ShiftSheet{
		Bureau: "bureau-01", Shift: "2026-03-01/1", Opened: opened, Closed: opened.Add(8 * time.Hour), Drawn: opened.Add(9 * time.Hour),
		Stock:  Balance{Received: 500, CarriedIn: 40, Issued: 431, Spoiled: 3, Quarantined: 1, Test: 2, Returned: 5, OnHand: 96, InUse: 0, InDoubt: 2},
		Blanks: []Count{{"on-hand", 96}, {"issued", 431}},
		Orders: []Count{{"issued", 431}, {"in-doubt", 2}, {"released", 67}},
		Readers: []ReaderCount{
			{Reader: "Virtual PCD 00 00", Station: "line-a", Attempts: 230, Issued: 225, Clean: 1, Spoiled: 2, Quarantined: 1, InDoubt: 1},
			{Reader: "Virtual PCD 00 01", Station: "line-a", Attempts: 209, Issued: 206, Spoiled: 1, InDoubt: 1, Running: 1},
		},
		InDoubt: []Doubt{
			{"0b6bd9a2-56ef-4f0f-9b1c-0d4f3f1d2a11", "B7K2M9X4C", "4790-0001-0000-00000017", "Virtual PCD 00 00", opened.Add(time.Hour)},
			{"5d7c1a44-8a3b-4c6e-8f52-7e5a0c9b3d22", "T4N8W2R6Q", "4790-0001-0000-0000002A", "Virtual PCD 00 01", opened.Add(2 * time.Hour)},
		},
	}
}

// draw writes the sheet and has the judges read it.
func draw(t *testing.T, s ShiftSheet) (text, info string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sheet.pdf")
	var b bytes.Buffer
	if err := s.WritePDF(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return judge(t, "pdftotext", "-layout", path, "-"), judge(t, "pdfinfo", path)
}

func judge(t *testing.T, name string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Fatalf("%s: %v %s", name, err, &errs)
	}
	return out.String()
}

func wants(t *testing.T, text string, wanted ...string) {
	t.Helper()
	flat := strings.Join(strings.Fields(text), " ")
	for _, w := range wanted {
		if !strings.Contains(flat, w) {
			t.Errorf("missing %q in\n%s", w, text)
		}
	}
}

func TestShiftSheet(t *testing.T) {
	text, info := draw(t, sheet())
	wants(t, text,
		"Shift sheet Bureau: bureau-01 Shift: 2026-03-01/1 Opened: 2026-03-01 02:30 UTC Closed: 2026-03-01 10:30 UTC",
		"received 500", "carried in 40", "to account for 540",
		"issued 431", "spoiled 3", "quarantined 1", "test 2", "returned 5", "on hand 96", "in use 0", "in doubt 2", "accounted for 540",
		"received + carried in = issued + spoiled + quarantined + test + returned + on hand + in use + in doubt",
		"500 + 40 = 431 + 3 + 1 + 2 + 5 + 96 + 0 + 2: the stock balances.",
		"released 67 all 500",
		"Virtual PCD 00 00 line-a 230 225 1 2 1 1 0",
		"Virtual PCD 00 01 line-a 209 206 0 1 0 1 1",
		"All readers 439 431 1 3 1 2 1",
		"0b6bd9a2-56ef-4f0f-9b1c-0d4f3f1d2a11 B7K2M9X4C 4790-0001-0000-00000017 Virtual PCD 00 00 2026-03-01 03:30 UTC",
		"5d7c1a44-8a3b-4c6e-8f52-7e5a0c9b3d22 T4N8W2R6Q",
		"Shift leader: name signature date and time", "Custodian of the stock: name signature date and time",
		"Page 1 of",
	)
	for _, unwanted := range []string{"provisional", "DEVELOPMENT", "NOT BALANCE"} {
		if strings.Contains(text, unwanted) {
			t.Errorf("%q in\n%s", unwanted, text)
		}
	}
	wants(t, info, "Title: Shift sheet 2026-03-01/1", "Author: bureau-01", "Creator: cardbureau", "(A4)", "Encrypted: no")
}

func TestShiftSheetWithoutWork(t *testing.T) {
	text, info := draw(t, ShiftSheet{Bureau: "b", Shift: "1", Opened: opened, Drawn: opened, Development: true,
		Stock: Balance{CarriedIn: 10, OnHand: 10}, Signatories: []string{"Auditor"}})
	wants(t, text, "provisional: the shift is open", "DEVELOPMENT: made with development keys or software cards",
		"DEVELOPMENT, NOT FOR PRODUCTION", "0 + 10 = 0 + 0 + 0 + 0 + 0 + 10: the stock balances.",
		"No reader worked during the shift.", "No attempt is in doubt.", "Auditor: name", "Page 1 of 1")
	if strings.Contains(text, "in use") || strings.Contains(text, "Closed") {
		t.Error(text)
	}
	wants(t, info, "Pages: 1")
}

func TestShiftSheetThatDoesNotBalance(t *testing.T) {
	s := sheet()
	s.Stock.OnHand -= 3
	text, _ := draw(t, s)
	wants(t, text, "THE STOCK DOES NOT BALANCE, 3 missing.")
	s.Stock.OnHand += 4
	text, _ = draw(t, s)
	wants(t, text, "THE STOCK DOES NOT BALANCE, 1 too many.")
}

// A long list goes over pages, its head on each, every line once.
func TestShiftSheetOverPages(t *testing.T) {
	s := sheet()
	s.InDoubt = nil
	for i := range 120 {
		s.InDoubt = append(s.InDoubt, Doubt{Attempt: fmt.Sprintf("attempt-%04d", i), Card: "B7K2M9X4C", Blank: "0", Reader: strings.Repeat("Very long reader name ", 8), Since: opened})
	}
	text, info := draw(t, s)
	pages := strings.Split(strings.TrimRight(text, "\f"), "\f")
	if len(pages) < 4 {
		t.Errorf("%d pages", len(pages))
	}
	wants(t, info, fmt.Sprintf("Pages: %d", len(pages)))
	for i := range 120 {
		if n := strings.Count(text, fmt.Sprintf("attempt-%04d", i)); n != 1 {
			t.Errorf("attempt %d stands %d times", i, n)
		}
	}
	for i, page := range pages {
		wants(t, page, fmt.Sprintf("Page %d of %d", i+1, len(pages)))
		if strings.Contains(page, "attempt-") && !strings.Contains(page, "Attempt ") {
			t.Errorf("page %d has lines without a head", i+1)
		}
	}
	if !strings.Contains(text, "...") {
		t.Error("a name that cannot fit is not cut visibly")
	}
	last := pages[len(pages)-1]
	wants(t, last, "Shift leader: name", "Custodian of the stock: name")
}

func TestShiftSheetIsReproducible(t *testing.T) {
	var a, b bytes.Buffer
	if err := sheet().WritePDF(&a); err != nil {
		t.Fatal(err)
	}
	if err := sheet().WritePDF(&b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("the same sheet gives other bytes")
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errDisk }

var errDisk = errors.New("no space left")

func TestShiftSheetReportsWriteErrors(t *testing.T) {
	if err := sheet().WritePDF(fullDisk{}); !errors.Is(err, errDisk) {
		t.Errorf("error %v", err)
	}
}
