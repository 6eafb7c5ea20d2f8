package document

import (
	"fmt"
	"io"
)

// WritePDF draws the sheet. It fails only where w does.
func (s ShiftSheet) WritePDF(w io.Writer) error {
	p := newPage("Shift sheet "+s.Shift, s.Bureau, s.Drawn)
	mark := ""
	if s.Development {
		mark = " - DEVELOPMENT, NOT FOR PRODUCTION"
	}
	p.footer(fmt.Sprintf("Shift %s - drawn %s%s", s.Shift, clock(s.Drawn), mark))
	p.pdf.AddPage()

	s.drawTitle(p)
	s.drawBalance(p)
	drawCounts(p, "Blanks by state", s.Blanks)
	drawCounts(p, "Orders by state", s.Orders)
	s.drawReaders(p)
	s.drawDoubts(p)
	p.signatures("The undersigned have counted the blanks and found the numbers above.", s.signatories())

	if err := p.pdf.Output(w); err != nil {
		return fmt.Errorf("document: the shift sheet cannot be written: %w", err)
	}
	return nil
}

func (s ShiftSheet) drawTitle(p *page) {
	title := "Shift sheet"
	if s.Closed.IsZero() {
		title += " (provisional: the shift is open)"
	}
	p.pdf.SetFont(sansFont, "B", 16)
	p.pdf.CellFormat(0, 9, p.latin(title), "", 1, "L", false, 0, "")
	if s.Development {
		p.pdf.SetFont(sansFont, "B", 10)
		p.pdf.CellFormat(0, rowHeight, "DEVELOPMENT: made with development keys or software cards", "1", 1, "C", false, 0, "")
	}
	p.line("Bureau: " + s.Bureau)
	p.line("Shift: " + s.Shift)
	period := "Opened: " + clock(s.Opened)
	if !s.Closed.IsZero() {
		period += "   Closed: " + clock(s.Closed)
	}
	p.line(period)
}

func (s ShiftSheet) drawBalance(p *page) {
	b := s.Stock
	p.heading("Balance of the blanks")
	columns := []column{{"", bodyWidth - 30, "L", false}, {"Blanks", 30, "R", true}}
	p.table(columns, [][]string{
		{"received", itoa(b.Received)},
		{"carried in", itoa(b.CarriedIn)},
		{"to account for", itoa(b.In())},
	}, true)
	p.pdf.Ln(2)
	rows := [][]string{
		{"issued", itoa(b.Issued)},
		{"spoiled", itoa(b.Spoiled)},
		{"quarantined", itoa(b.Quarantined)},
		{"test", itoa(b.Test)},
		{"returned", itoa(b.Returned)},
		{"on hand", itoa(b.OnHand)},
	}
	sum := "received + carried in = issued + spoiled + quarantined + test + returned + on hand"
	right := fmt.Sprintf("%d + %d + %d + %d + %d + %d", b.Issued, b.Spoiled, b.Quarantined, b.Test, b.Returned, b.OnHand)
	if b.InUse != 0 || b.InDoubt != 0 {
		rows = append(rows, []string{"in use", itoa(b.InUse)}, []string{"in doubt", itoa(b.InDoubt)})
		sum += " + in use + in doubt"
		right += fmt.Sprintf(" + %d + %d", b.InUse, b.InDoubt)
	}
	p.table(columns, append(rows, []string{"accounted for", itoa(b.Accounted())}), true)
	p.pdf.Ln(1)
	p.line(sum)
	verdict := fmt.Sprintf("%d + %d = %s: the stock balances.", b.Received, b.CarriedIn, right)
	switch d := b.Difference(); {
	case d > 0:
		verdict = fmt.Sprintf("%d + %d is not %s: THE STOCK DOES NOT BALANCE, %d missing.", b.Received, b.CarriedIn, right, d)
	case d < 0:
		verdict = fmt.Sprintf("%d + %d is not %s: THE STOCK DOES NOT BALANCE, %d too many.", b.Received, b.CarriedIn, right, -d)
	}
	p.pdf.SetFont(sansFont, "B", bodySize)
	p.pdf.MultiCell(0, rowHeight-1, p.latin(verdict), "", "L", false)
}

func drawCounts(p *page, title string, counts []Count) {
	if len(counts) == 0 {
		return
	}
	p.heading(title)
	var rows [][]string
	sum := 0
	for _, c := range counts {
		rows = append(rows, []string{plain(c.State), itoa(c.Count)})
		sum += c.Count
	}
	rows = append(rows, []string{"all", itoa(sum)})
	p.table([]column{{"State", bodyWidth - 30, "L", false}, {"Count", 30, "R", true}}, rows, true)
}

func (s ShiftSheet) drawReaders(p *page) {
	p.heading("Attempts and cards by reader")
	if len(s.Readers) == 0 {
		p.line("No reader worked during the shift.")
		return
	}
	columns := []column{
		{"Reader", 58, "L", false}, {"Station", 24, "L", false}, {"Attempts", 15, "R", true}, {"Issued", 13, "R", true},
		{"Clean", 12, "R", true}, {"Spoiled", 14, "R", true}, {"Quarant.", 15, "R", true}, {"In doubt", 15, "R", true}, {"Running", 14, "R", true},
	}
	var rows [][]string
	for _, r := range append(append([]ReaderCount(nil), s.Readers...), s.total()) {
		rows = append(rows, []string{
			r.Reader, r.Station, itoa(r.Attempts), itoa(r.Issued), itoa(r.Clean),
			itoa(r.Spoiled), itoa(r.Quarantined), itoa(r.InDoubt), itoa(r.Running),
		})
	}
	p.table(columns, rows, true)
}

func (s ShiftSheet) drawDoubts(p *page) {
	p.heading("In doubt")
	if len(s.InDoubt) == 0 {
		p.line("No attempt is in doubt.")
		return
	}
	p.line(fmt.Sprintf("Attempts of which it is not known how they ended: %d. Look at each card before doing anything else with it.", len(s.InDoubt)))
	columns := []column{
		{"Attempt", 64, "L", true}, {"Card", 22, "L", true}, {"Blank", 34, "L", true},
		{"Reader", 30, "L", false}, {"Since", 30, "L", false},
	}
	var rows [][]string
	for _, d := range s.InDoubt {
		rows = append(rows, []string{d.Attempt, d.Card, d.Blank, d.Reader, clock(d.Since)})
	}
	p.table(columns, rows, false)
}
