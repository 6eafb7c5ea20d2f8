package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds"
	"cardbureau/cardio/lds/datagroup"
	"cardbureau/cardio/lds/proof"
	"cardbureau/cardio/lds/sod"
	"cardbureau/personalization/bureau"
)

type cardVerify struct {
	readerFlag
	CAN            string   `help:"Card access number; - reads it from standard input." name:"can" env:"CARDBUREAU_CAN" placeholder:"DIGITS"`
	DocumentNumber string   `help:"Document number, for BAC; - reads it from standard input." env:"CARDBUREAU_DOCUMENT_NUMBER" placeholder:"NUMBER"`
	Birth          string   `help:"Date of birth as in the MRZ, YYMMDD; - reads it from standard input." env:"CARDBUREAU_BIRTH" placeholder:"YYMMDD"`
	Expiry         string   `help:"Date of expiry as in the MRZ, YYMMDD; - reads it from standard input." env:"CARDBUREAU_EXPIRY" placeholder:"YYMMDD"`
	CSCA           []string `help:"Country signing certificates to trust, DER or PEM (repeatable); without it those of the data folder." name:"csca" type:"existingfile" placeholder:"FILE"`
	CRL            []string `help:"Revocation list of such a certificate, DER or PEM (repeatable)." name:"crl" type:"existingfile" placeholder:"FILE"`
	At             string   `help:"Judge validity at this date instead of now." placeholder:"YYYY-MM-DD"`
	Show           bool     `help:"Print the holder's data, too."`
}

func (cardVerify) Example() string {
	return "echo 123456 | cardbureau card verify --can - --csca csca.pem"
}

// verified is what card verify reports.
type verified struct {
	Reader   string        `json:"reader"`
	ATR      string        `json:"atr"`
	OK       bool          `json:"ok"`
	Checks   []proof.Check `json:"checks"`
	Document *shownData    `json:"document,omitempty"` // with --show only
}

func (c cardVerify) Run(ctx context.Context, g *globals) error {
	at, err := c.date()
	if err != nil {
		return err
	}
	if err := c.ask(os.Stdin); err != nil {
		return err
	}
	can, mrz, err := c.passwords()
	if err != nil {
		return err
	}
	defer can.Zero()
	defer mrz.Zero()
	trust, err := c.trust(ctx, g)
	if err != nil {
		return err
	}
	conn, done, err := c.connect(ctx, g)
	if err != nil {
		return err
	}
	defer done()
	v := &verified{Reader: conn.Reader(), ATR: fmt.Sprintf("%X", conn.ATR())}
	doc, report := c.inspect(ctx, conn, can, mrz, lds.Options{Trust: trust, At: at})
	v.OK = report.OK()
	for _, check := range report.Checks {
		v.Checks = append(v.Checks, explain(check))
	}
	if c.Show {
		v.Document = show(doc)
	}
	if g.JSON {
		err = printJSON(v)
	} else {
		v.print(os.Stdout)
	}
	if err == nil && !v.OK {
		err = &exitError{status: exitFailed}
	}
	return err
}

func (c cardVerify) date() (time.Time, error) {
	if c.At == "" {
		return time.Now(), nil
	}
	at, err := time.Parse(time.DateOnly, c.At)
	if err != nil {
		return at, &exitError{exitUsage, fmt.Sprintf("--at %q is no date: write it as 2026-03-21", c.At)}
	}
	return at, nil
}

// ask fills in what is read from standard input: a line for each flag that is
// "-", in the order of the flags. On a terminal, what is missing altogether is
// asked for.
func (c *cardVerify) ask(in *os.File) error {
	if c.CAN == "" && c.DocumentNumber == "" && term.IsTerminal(int(in.Fd())) {
		fmt.Fprint(os.Stderr, "CAN: ")
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(os.Stderr)
		c.CAN = strings.TrimSpace(string(b))
		return err
	}
	lines := bufio.NewReader(in)
	for _, f := range []*string{&c.CAN, &c.DocumentNumber, &c.Birth, &c.Expiry} {
		if *f != "-" {
			continue
		}
		line, err := lines.ReadString('\n')
		if err != nil && (!errors.Is(err, io.EOF) || line == "") {
			return fmt.Errorf("standard input ended before what opens the card: %w", err)
		}
		*f = strings.TrimSpace(line)
	}
	return nil
}

// passwords are what opens the card; one of them may be zero.
func (c *cardVerify) passwords() (can, mrz lds.Password, err error) {
	c.DocumentNumber = strings.ToUpper(c.DocumentNumber)
	c.Birth, c.Expiry = mrzDate(c.Birth), mrzDate(c.Expiry)
	given := 0
	for _, s := range []string{c.DocumentNumber, c.Birth, c.Expiry} {
		if s != "" {
			given++
		}
	}
	switch {
	case given == 0 && c.CAN == "":
		return can, mrz, &exitError{exitUsage, "what opens the card is missing: give --can, or --document-number, --birth and --expiry"}
	case given != 0 && given != 3:
		return can, mrz, &exitError{exitUsage, "--document-number, --birth and --expiry belong together"}
	}
	if c.CAN != "" {
		if can, err = lds.CAN(c.CAN); err != nil {
			return can, mrz, &exitError{exitUsage, "--can: " + err.Error()}
		}
	}
	if given == 3 {
		if mrz, err = lds.MRZ(c.DocumentNumber, c.Birth, c.Expiry); err != nil {
			return can, mrz, &exitError{exitUsage, "--document-number, --birth, --expiry: " + err.Error()}
		}
	}
	return can, mrz, nil
}

// mrzDate writes 1990-01-31 as the MRZ does; anything else is left alone.
func mrzDate(s string) string {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t.Format("060102")
	}
	return s
}

// trust is what passive authentication believes.
func (c cardVerify) trust(ctx context.Context, g *globals) (*sod.Trust, error) {
	trust, err := c.cscas(ctx, g)
	if err != nil {
		return nil, err
	}
	for _, name := range c.CRL {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		crl, err := sod.ParseCRL(b)
		if err == nil {
			err = trust.AddCRL(crl)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return trust, nil
}

// cscas trusts the certificates that are named, or else the data folder's with
// their revocation list.
func (c cardVerify) cscas(ctx context.Context, g *globals) (*sod.Trust, error) {
	if len(c.CSCA) == 0 {
		b, err := bureau.Open(ctx, g.Data, bureau.Options{NoStore: true, NoVault: true})
		if err != nil {
			return nil, fmt.Errorf("no country signing certificate is known, name one with --csca: %w", err)
		}
		defer b.Close()
		return b.Trusted()
	}
	var certs []*sod.Certificate
	for _, name := range c.CSCA {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		found, err := sod.ParseCertificates(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		certs = append(certs, found...)
	}
	return sod.NewTrust(certs...)
}

// Checks that this command adds to those of package lds.
const (
	checkSameByBAC = "access.bac.files"   // BAC opens the same files
	checkPrinted   = "dg1.printed"        // the chip says what is printed
	checkExpiry    = "dg1.date-of-expiry" // the document has not expired
)

// inspect reads the card with the CAN, or with the MRZ where there is no CAN;
// then, where the MRZ is known, once more by BAC.
func (c cardVerify) inspect(ctx context.Context, conn cardConn, can, mrz lds.Password, o lds.Options) (*lds.Document, *proof.Report) {
	o.Password = can
	if can.IsZero() {
		o.Password = mrz
	}
	doc, report := lds.Inspect(ctx, conn, o)
	if doc.Session != nil {
		defer doc.Session.Close()
	}
	c.judgeMRZ(doc, report, o.At)
	if mrz.IsZero() || !report.Held(lds.CheckPACE) {
		return doc, report
	}
	if err := conn.Reset(ctx, true); err != nil {
		report.Fail(lds.CheckBAC, err)
		return doc, report
	}
	o.Password, o.BAC = mrz, true
	again, byBAC := lds.Inspect(ctx, conn, o)
	if again.Session != nil {
		defer again.Session.Close()
	}
	for _, check := range byBAC.Checks {
		if check.Name == lds.CheckApplication && errors.Is(check.Err, apdu.SWSecurityStatusNotSatisfied) {
			report.Skip(lds.CheckBAC, "the chip opens its application by PACE alone")
			return doc, report
		}
		if check.Name == lds.CheckBAC || check.Name == lds.CheckApplication && !check.OK {
			report.Checks = append(report.Checks, check)
		}
	}
	if byBAC.Held(lds.CheckBAC) {
		report.Note(checkSameByBAC, same(doc, again))
	}
	return doc, report
}

// judgeMRZ compares DG1 with what is printed and with the date.
func (c cardVerify) judgeMRZ(doc *lds.Document, report *proof.Report, at time.Time) {
	mrz, err := datagroup.ParseDG1(doc.Groups[1])
	if err != nil {
		return // the report says so
	}
	if expiry, err := time.Parse("060102", mrz.Expiry); err != nil {
		report.Skip(checkExpiry, "the date of expiry is not known")
	} else if end := expiry.AddDate(0, 0, 1); !at.Before(end) {
		report.Fail(checkExpiry, errors.New("the document has expired"))
	} else {
		report.Pass(checkExpiry, "")
	}
	if c.DocumentNumber == "" {
		return
	}
	if strings.TrimRight(c.DocumentNumber, "<") != mrz.DocumentNumber || c.Birth != mrz.Birth || c.Expiry != mrz.Expiry {
		report.Fail(checkPrinted, errors.New("DG1 has another document number, date of birth or date of expiry than what was given"))
		return
	}
	report.Pass(checkPrinted, "")
}

// same compares what was read in two ways.
func same(a, b *lds.Document) error {
	equal := bytes.Equal(a.COM, b.COM) && bytes.Equal(a.SOD, b.SOD) && len(a.Groups) == len(b.Groups)
	for n, file := range a.Groups {
		equal = equal && bytes.Equal(file, b.Groups[n])
	}
	if !equal {
		return errors.New("BAC opens other files than PACE")
	}
	return nil
}

// held says of each check what it means that it held.
var held = map[string]string{
	lds.CheckCardAccess:  "EF.CardAccess offers the PACE that the signed DG14 confirms",
	lds.CheckPACE:        "the chip took the password by PACE",
	lds.CheckBAC:         "the chip took the MRZ by BAC",
	lds.CheckApplication: "the eMRTD application answers",
	lds.CheckChip:        "the chip holds the private key to the public one in DG14",
	lds.CheckCOM:         "EF.COM lists the data groups that were signed",
	lds.CheckSOD:         "EF.SOD is there and well formed",
	lds.CheckDG1:         "the MRZ is well formed and its check digits are right",
	lds.CheckDG2:         "the portrait's record is well formed",
	lds.CheckDG11:        "the personal details are well formed",
	lds.CheckDocument:    "the signer may sign this kind of document of this State",
	sod.CheckSignature:   "the document signer signed the hashes",
	sod.CheckChain:       "a trusted CSCA issued the signer's certificate",
	sod.CheckValidity:    "both certificates are valid at the date",
	sod.CheckUsage:       "both certificates may be used as they are",
	sod.CheckSigningTime: "it was signed while the signer's key was in use",
	sod.CheckRevocation:  "the CSCA has not revoked the signer",
	checkSameByBAC:       "BAC opens the same files as PACE",
	checkPrinted:         "DG1 says what is printed",
	checkExpiry:          "the document has not expired",
}

// explain gives a check that held its reason in words.
func explain(c proof.Check) proof.Check {
	if !c.OK {
		return c
	}
	text := held[c.Name]
	var n int
	if _, err := fmt.Sscanf(c.Name, "hash.dg%d", &n); err == nil {
		text = fmt.Sprintf("data group %d is the one that was signed", n)
	}
	switch {
	case c.Reason == "":
		c.Reason = text
	case text != "":
		c.Reason = text + ", " + c.Reason
	}
	return c
}

func (v *verified) print(w io.Writer) {
	fmt.Fprintf(w, "Card in %s, ATR %s\n", v.Reader, v.ATR)
	failed := 0
	for _, c := range v.Checks {
		fmt.Fprintln(w, c)
		if !c.OK && !c.Skip {
			failed++
		}
	}
	switch {
	case v.OK:
		fmt.Fprintln(w, "Every check that could be made holds.")
	case failed > 0:
		fmt.Fprintf(w, "Do not accept this card: %d of %d checks failed.\n", failed, len(v.Checks))
	default:
		fmt.Fprintln(w, "Do not accept this card: nothing could be checked.")
	}
	if v.Document != nil {
		v.Document.print(w)
	}
}
