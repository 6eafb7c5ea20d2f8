package document

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/jung-kurt/gofpdf"
)

// Measures of a receipt in millimetres on A5.
const (
	receiptMargin = 12.0
	receiptWidth  = 148 - 2*receiptMargin
	receiptLine   = 6.5
	persianFont   = "vazirmatn"
)

// WritePDF draws the receipt: the same receipt gives the same bytes. It fails where w
// does, and for a deed that is none.
func (r Receipt) WritePDF(w io.Writer) error {
	deed, ok := deeds[r.Kind]
	if !ok || (r.Kind == Paired) != (r.Pairing != nil) {
		return fmt.Errorf("document: there is no receipt of %q", r.Kind)
	}
	if r.Pairing != nil && r.Pairing.Pending {
		deed = pairingBegun
	}
	p := r.page()
	if r.Development {
		p.persian(developmentFa, 11, "C")
	}
	p.persian("رسید کارت شناسایی", 17, "C")
	p.persian(r.Bureau, 11, "C")
	p.rule()
	p.persian(deed, 13, "R")
	p.persian("شماره\u200cی کارت: "+latinIn(r.Card), 13, "R")
	p.persian("تاریخ: "+jalaliText(r.At)+" به وقت تهران ("+latinIn(r.At.In(tehran).Format("2006-01-02"))+")", 11, "R")
	if r.Pairing != nil {
		p.pairing(*r.Pairing)
	} else if r.Kind != BlockLifted {
		p.persian(onPIN, 10, "R")
	}
	p.rule()
	p.persian(onLoss, 10, "R")
	p.latin("cardbureau desk block "+r.Card, 8)
	p.rule()
	if r.Statement == nil {
		p.persian(noSignature, 9, "R")
	} else {
		p.persian(onSigned, 9, "R")
		p.latin(plainOr64(r.Statement), 6.5)
		p.latin(base64.StdEncoding.EncodeToString(r.Signature), 6.5)
	}
	if err := p.pdf.Output(w); err != nil {
		return fmt.Errorf("document: the receipt cannot be written: %w", err)
	}
	return nil
}

// plainOr64 is ASCII as it stands, and anything else in base64: a statement is printed
// so that its bytes can be had back.
func plainOr64(b []byte) string {
	for _, c := range b {
		if c < 0x20 || c > 0x7E {
			return "base64 " + base64.StdEncoding.EncodeToString(b)
		}
	}
	return string(b)
}

// receiptPage draws on the one page of a receipt.
type receiptPage struct{ pdf *gofpdf.Fpdf }

func (r Receipt) page() receiptPage {
	pdf := gofpdf.New("P", "mm", "A5", "")
	pdf.SetTitle("Receipt "+r.Card, true)
	pdf.SetAuthor(r.Bureau, true)
	pdf.SetCreator("cardbureau", true)
	pdf.SetCreationDate(r.At.UTC())
	pdf.SetModificationDate(r.At.UTC())
	pdf.SetCatalogSort(true)
	pdf.SetMargins(receiptMargin, receiptMargin, receiptMargin)
	pdf.SetAutoPageBreak(true, receiptMargin)
	pdf.SetLineWidth(0.1)
	pdf.AddUTF8FontFromBytes(persianFont, "", receiptFont)
	pdf.AddPage()
	return receiptPage{pdf}
}

func (p receiptPage) rule() {
	y := p.pdf.GetY() + 2
	p.pdf.Line(receiptMargin, y, receiptMargin+receiptWidth, y)
	p.pdf.SetY(y + 2)
}

// persian draws a paragraph from right to left, broken between words.
func (p receiptPage) persian(text string, size float64, align string) {
	p.pdf.SetFont(persianFont, "", size)
	height := receiptLine * size / 11
	line := ""
	for _, word := range strings.Fields(text) {
		longer := strings.TrimSpace(line + " " + word)
		if line != "" && p.pdf.GetStringWidth(visual(longer)) > receiptWidth-2*p.pdf.GetCellMargin() {
			p.pdf.CellFormat(0, height, visual(line), "", 1, align, false, 0, "")
			longer = word
		}
		line = longer
	}
	p.pdf.CellFormat(0, height, visual(line), "", 1, align, false, 0, "")
}

// latin draws ASCII from left to right, in fixed pitch.
func (p receiptPage) latin(text string, size float64) {
	p.pdf.SetFont(numberFont, "", size)
	p.pdf.MultiCell(0, size/2, text, "", "L", false)
}

func (p receiptPage) pairing(r PairingReceipt) {
	operator := latinIn(r.Operator)
	if name := operators[r.Operator]; name != "" {
		operator = name + " (" + operator + ")"
	}
	p.persian("اپراتور: "+operator, 11, "R")
	if r.LastFour != "" {
		p.persian("چهار رقم آخر شماره\u200cی تلفن: "+latinIn(r.LastFour), 11, "R")
	}
	if r.Pending {
		p.persian("اپراتور هنوز خط را فعال نکرده است؛ جفت\u200cسازی پس از آن کامل می\u200cشود.", 10, "R")
	}
	p.persian("شناسه\u200cی جفت\u200cسازی: "+latinIn(r.ID), 9, "R")
	p.persian("کد اثبات شماره:", 11, "R")
	p.pdf.SetFont(numberFont, "B", 11)
	groups := strings.Fields(grouped(hex.EncodeToString(r.Salt)))
	for len(groups) > 0 {
		n := min(8, len(groups))
		p.pdf.CellFormat(0, 5.5, strings.Join(groups[:n], " "), "", 1, "C", false, 0, "")
		groups = groups[n:]
	}
	p.persian(onSalt, 9, "R")
}

// grouped puts a space behind every four characters.
func grouped(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); i += 4 {
		out.WriteString(text[i:min(i+4, len(text))] + " ")
	}
	return out.String()
}
