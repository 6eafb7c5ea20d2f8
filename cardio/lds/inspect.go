package lds

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds/datagroup"
	"cardbureau/cardio/lds/proof"
	"cardbureau/cardio/lds/sod"
)

// Names of the checks that Inspect makes besides those of package sod. The
// hash of data group n is CheckHash(n).
const (
	CheckCardAccess  = "card-access"           // EF.CardAccess says of PACE what the signed DG14 says
	CheckPACE        = "access.pace"           // the chip took the password by PACE
	CheckBAC         = "access.bac"            // the same by BAC
	CheckApplication = "application"           // the eMRTD application answers
	CheckChip        = "chip-authentication"   // the chip holds the key in DG14
	CheckActive      = "active-authentication" // the chip signs with the key in DG15
	CheckCOM         = "com"                   // EF.COM lists the data groups that were signed
	CheckSOD         = "sod"                   // EF.SOD is there and well formed
	CheckDG1         = "dg1"                   // the MRZ and its check digits
	CheckDG2         = "dg2"                   // the portrait's record
	CheckDG11        = "dg11"                  // the personal details
	CheckDocument    = "sod.document"          // the signer may sign this kind of document of this State
	CheckExpected    = "expected"              // every file is the one that was written
)

// CheckHash names the check of a data group's hash.
func CheckHash(dg int) string { return fmt.Sprintf("hash.dg%d", dg) }

// Options say how to inspect a document.
type Options struct {
	Password Password // printed on the document
	BAC      bool     // do BAC even where the chip offers PACE
	// Trust is what passive authentication believes; nil trusts no one.
	Trust *sod.Trust
	At    time.Time // of validity; zero is now
	Block int       // see Reader
	// AvoidLe00 is that of Reader.
	AvoidLe00 bool
	// Expected are the files that a maker wrote, by identifier: with it,
	// everything is read in one exchange and compared. Files not in it are
	// read as for anyone.
	Expected map[uint16][]byte
}

// Document is what Inspect read. It is personal data.
type Document struct {
	CardAccess []byte // nil where the chip has none
	COM        []byte
	SOD        []byte
	Groups     map[int][]byte // data groups by number
	// Session is the secure messaging that stands after the inspection; nil
	// where the chip was not opened.
	Session *SecureMessaging
}

// String hides the content.
func (Document) String() string { return "[redacted document]" }

// GoString hides the content.
func (Document) GoString() string { return "[redacted document]" }

// Inspect reads a document as a border reader does and says what it checked
// and how it went: access by PACE or BAC, chip authentication, every
// readable file, active authentication where there is a DG15, passive
// authentication. The chip should be fresh from a reset.
// Failures are in the report, those of the transport too (errors.Is on
// Report.Err finds them).
func Inspect(ctx context.Context, card apdu.Card, o Options) (*Document, *proof.Report) {
	i := &inspection{options: o, card: card, report: &proof.Report{}, doc: &Document{Groups: map[int][]byte{}}}
	if i.options.At.IsZero() {
		i.options.At = time.Now()
	}
	if i.options.Trust == nil {
		i.options.Trust, _ = sod.NewTrust()
	}
	if i.open(ctx) {
		i.read(ctx)
		i.judge()
	}
	return i.doc, i.report
}

type inspection struct {
	options  Options
	card     apdu.Card
	report   *proof.Report
	doc      *Document
	access   *SecurityInfos
	chip     error // of chip authentication
	chipKey  []byte
	chipSkip string
	active   error // of active authentication, where DG15 is there
	failed   map[uint16]error
	sod      *sod.SOD
}

// open gets access to the chip and selects the application.
func (i *inspection) open(ctx context.Context) bool {
	var paceErr error
	if !i.options.BAC {
		i.doc.CardAccess, i.access, paceErr = i.reader(i.card).CardAccess(ctx)
		if paceErr == nil {
			i.doc.Session, paceErr = OpenPACE(ctx, i.card, i.options.Password, i.access)
		}
		if paceErr == nil {
			i.report.Pass(CheckPACE, "with "+i.doc.Session.Cipher().String())
			return i.report.Note(CheckApplication, EnterApplication(ctx, i.doc.Session))
		}
		if !i.options.Password.IsMRZ() || !errors.Is(paceErr, ErrNoCardAccess) && !errors.Is(paceErr, ErrNotSupported) {
			i.report.Fail(CheckPACE, paceErr)
			return false
		}
		i.report.Skip(CheckPACE, paceErr.Error())
	}
	if !i.report.Note(CheckApplication, SelectApplication(ctx, i.card)) {
		return false
	}
	var err error
	i.doc.Session, err = OpenBAC(ctx, i.card, i.options.Password)
	return i.report.Note(CheckBAC, err)
}

func (i *inspection) reader(card apdu.Card) Reader {
	return Reader{Card: card, Block: i.options.Block, AvoidLe00: i.options.AvoidLe00}
}

// read authenticates the chip and reads every file that there is to read.
func (i *inspection) read(ctx context.Context) {
	i.failed = map[uint16]error{}
	if dg14 := i.options.Expected[FileDG(14)]; dg14 != nil {
		i.authenticate(ctx, dg14)
		ids := []uint16{FileCOM, FileSOD}
		for id := range i.options.Expected {
			if id > 0x0100 && id <= 0x0110 {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		i.files(ctx, ids)
		i.parseSOD()
	} else {
		i.files(ctx, []uint16{FileCOM, FileSOD})
		i.parseSOD()
		if i.sod != nil && i.sod.Hashes[14] != nil {
			i.files(ctx, []uint16{FileDG(14)})
			i.authenticate(ctx, i.doc.Groups[14])
		} else {
			i.chipSkip = "EF.SOD lists no DG14, so the chip has no key for it"
		}
	}
	if i.sod == nil {
		return
	}
	var more []uint16
	for n := range i.sod.Hashes {
		if id := FileDG(n); i.doc.Groups[n] == nil && i.failed[id] == nil && n != 3 && n != 4 {
			more = append(more, id)
		}
	}
	slices.Sort(more)
	i.files(ctx, more)
	if dg15 := i.doc.Groups[15]; dg15 != nil {
		i.active = i.signs(ctx, dg15)
	}
}

// signs has the chip sign with the key in DG15.
func (i *inspection) signs(ctx context.Context, dg15 []byte) error {
	der, err := datagroup.DG15(dg15)
	if err != nil {
		return err
	}
	var infos *SecurityInfos
	if dg14 := i.doc.Groups[14]; dg14 != nil {
		if infos, err = parseDG14(dg14); err != nil {
			return err
		}
	}
	key, err := ParseActiveKey(der, infos)
	if err != nil {
		return err
	}
	return ActiveAuthentication(ctx, i.doc.Session, key)
}

// files reads files one after another in as few exchanges as there are
// failures.
func (i *inspection) files(ctx context.Context, ids []uint16) {
	for len(ids) > 0 {
		files := make([]File, len(ids))
		for k, id := range ids {
			files[k] = File{ID: id, Size: len(i.options.Expected[id])}
		}
		got, err := i.reader(i.doc.Session).Files(ctx, files...)
		for k, b := range got {
			switch id := ids[k]; id {
			case FileCOM:
				i.doc.COM = b
			case FileSOD:
				i.doc.SOD = b
			default:
				i.doc.Groups[int(id-0x0100)] = b
			}
		}
		if err == nil {
			return
		}
		i.failed[ids[len(got)]] = err
		ids = ids[len(got)+1:]
	}
}

func (i *inspection) authenticate(ctx context.Context, dg14 []byte) {
	infos, err := parseDG14(dg14)
	if err != nil {
		i.chip = err
		return
	}
	next, err := ChipAuthentication(ctx, i.doc.Session, infos)
	if err == nil {
		i.doc.Session, i.chipKey = next, dg14
		return
	}
	if errors.Is(err, ErrNotSupported) {
		i.chipSkip = err.Error()
		return
	}
	i.chip = err
}

func parseDG14(file []byte) (*SecurityInfos, error) {
	if file == nil {
		return nil, fmt.Errorf("%w: DG14 could not be read", ErrChipAuthentication)
	}
	der, err := datagroup.DG14(file)
	if err != nil {
		return nil, err
	}
	return ParseSecurityInfos(der)
}

func (i *inspection) parseSOD() {
	if err := i.failed[FileSOD]; err != nil {
		i.report.Fail(CheckSOD, err)
		return
	}
	var err error
	if i.sod, err = sod.Parse(i.doc.SOD); err != nil {
		i.sod = nil
	}
	i.report.Note(CheckSOD, err)
}
