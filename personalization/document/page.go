package document

import (
	"strconv"
	"strings"
	"time"

	"github.com/jung-kurt/gofpdf"
)

// Measures in millimetres on A4, sizes of type in points.
const (
	margin     = 15.0
	pageWidth  = 210.0
	bodyWidth  = pageWidth - 2*margin
	rowHeight  = 6.0
	bodySize   = 9.0
	smallest   = 5.0 // below this a text is cut, not shrunk
	sansFont   = "Helvetica"
	numberFont = "Courier"
)

// page draws on one PDF document.
type page struct {
	pdf *gofpdf.Fpdf
	// latin turns UTF-8 into the standard fonts' encoding (cp1252).
	latin func(string) string
}

// newPage starts an A4 document whose bytes depend on nothing but its content.
func newPage(title, author string, drawn time.Time) *page {
	pdf := gofpdf.New("P", "mm", "A4", "")
	pdf.SetTitle(title, true)
	pdf.SetAuthor(author, true)
	pdf.SetCreator("cardbureau", true)
	pdf.SetCreationDate(drawn.UTC())
	pdf.SetModificationDate(drawn.UTC())
	pdf.SetCatalogSort(true)
	pdf.SetMargins(margin, margin, margin)
	pdf.SetAutoPageBreak(true, margin+8)
	pdf.SetLineWidth(0.1)
	pdf.AliasNbPages("")
	return &page{pdf: pdf, latin: pdf.UnicodeTranslatorFromDescriptor("")}
}

// heading begins a section; it does not stand alone at the foot of a page.
func (p *page) heading(text string) {
	p.keep(3 * rowHeight)
	p.pdf.Ln(rowHeight / 2)
	p.pdf.SetFont(sansFont, "B", 11)
	p.pdf.CellFormat(0, rowHeight+1, p.latin(text), "", 1, "L", false, 0, "")
}

// keep starts a new page unless height millimetres are left on this one.
func (p *page) keep(height float64) {
	_, pageHeight := p.pdf.GetPageSize()
	if p.pdf.GetY()+height > pageHeight-margin-8 {
		p.pdf.AddPage()
	}
}

func (p *page) line(text string) {
	p.pdf.SetFont(sansFont, "", bodySize)
	p.pdf.MultiCell(0, rowHeight-1, p.latin(text), "", "L", false)
}

// column is one of a table's: its title, its width in millimetres, how its
// cells are set.
type column struct {
	title  string
	width  float64
	align  string // "L" or "R"
	number bool   // fixed pitch, so that digits stand under each other
}

// table draws rows under a head that is repeated on every page. The last row
// is a total when total is set.
func (p *page) table(columns []column, rows [][]string, total bool) {
	p.head(columns)
	for i, row := range rows {
		_, pageHeight := p.pdf.GetPageSize()
		if p.pdf.GetY()+rowHeight > pageHeight-margin-8 {
			p.pdf.AddPage()
			p.head(columns)
		}
		style, border := "", "B"
		if total && i == len(rows)-1 {
			style, border = "B", "TB"
		}
		for j, c := range columns {
			font := sansFont
			if c.number {
				font = numberFont
			}
			p.cell(row[j], c, font, style, border)
		}
		p.pdf.Ln(rowHeight)
	}
}

func (p *page) head(columns []column) {
	p.pdf.SetFillColor(235, 235, 235)
	for _, c := range columns {
		p.pdf.SetFont(sansFont, "B", bodySize-1)
		p.pdf.CellFormat(c.width, rowHeight, p.latin(c.title), "TB", 0, c.align, true, 0, "")
	}
	p.pdf.Ln(rowHeight)
}

// cell sets a text in a smaller type when it does not fit its column, and cuts
// it in the middle, visibly, when even that does not help.
func (p *page) cell(text string, c column, font, style, border string) {
	text = p.latin(text)
	room := c.width - 2*p.pdf.GetCellMargin()
	size := bodySize
	p.pdf.SetFont(font, style, size)
	for size > smallest && p.pdf.GetStringWidth(text) > room {
		size -= 0.5
		p.pdf.SetFontSize(size)
	}
	for n := len(text); n > 4 && p.pdf.GetStringWidth(text) > room; n-- {
		keep := (n - 3) / 2
		text = text[:keep] + "..." + text[len(text)-keep:]
	}
	p.pdf.CellFormat(c.width, rowHeight, text, border, 0, c.align, false, 0, "")
}

// footer sets what stands at the foot of every page.
func (p *page) footer(left string) {
	p.pdf.SetFooterFunc(func() {
		p.pdf.SetY(-margin)
		p.pdf.SetFont(sansFont, "", 7)
		p.pdf.CellFormat(bodyWidth-30, 5, p.latin(left), "T", 0, "L", false, 0, "")
		p.pdf.CellFormat(30, 5, "Page "+itoa(p.pdf.PageNo())+" of {nb}", "T", 0, "R", false, 0, "")
	})
}

// signatures draws what is signed and a line for name, signature and date of
// every role, all on one page.
func (p *page) signatures(statement string, roles []string) {
	p.keep(float64(3+3*len(roles)) * rowHeight)
	p.heading("Signatures")
	p.line(statement)
	for _, role := range roles {
		p.pdf.Ln(1.6 * rowHeight)
		y := p.pdf.GetY()
		for _, part := range []struct {
			label string
			width float64
		}{{role + ": name", 70}, {"signature", 70}, {"date and time", 40}} {
			x := p.pdf.GetX()
			p.pdf.Line(x, y, x+part.width-5, y)
			p.pdf.SetFont(sansFont, "", 7)
			p.pdf.CellFormat(part.width, 4, p.latin(part.label), "", 0, "L", false, 0, "")
		}
		p.pdf.Ln(4)
	}
}

// clock prints a time in UTC to the minute.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04") + " UTC"
}

// plain joins the words of a state's name: "on-hand" is "on hand".
func plain(state string) string { return strings.ReplaceAll(state, "-", " ") }

func itoa(n int) string { return strconv.Itoa(n) }
