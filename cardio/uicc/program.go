package uicc

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cardbureau/cardio/apdu"
)

// Subscription is what is programmed. Fields that are empty are left alone where the
// kind says so, and are an error otherwise.
type Subscription struct {
	ICCID     string // that the card must have before anything is written
	IMSI      string
	MNCDigits int // 2 or 3
	MSISDN    string
	SPN       string
	ACC       uint16
	// K and OPc are keys of MILENAGE, 16 bytes each, or of TUAK: K of 16 or 32, and TOPc
	// of 32.
	K, OPc Secret
	TUAK   *TUAKParameters // nil: MILENAGE
	// OTA are keys for messages over the air, by KIC1, KID1, KIK1 to KIK3.
	OTA map[string]Secret
	// LastTry: the last try of the administrative key may be spent. A wrong key then
	// blocks the blank for good.
	LastTry bool
	// PIN1 is given where the blank asks for it: files are read back behind it.
	PIN1 Secret
}

// Errors of programming.
var (
	// ErrOtherCard says that the card has another ICCID than the order's: nothing was
	// written.
	ErrOtherCard = errors.New("this is another SIM than the order's: nothing was written")
	// ErrReadBack says that a file does not say what was written to it.
	ErrReadBack = errors.New("the SIM does not hold what was written")
	// ErrNotBlank says that a kind is not programmed.
	ErrNotBlank = errors.New("SIMs of this kind are their operator's and are not programmed")
)

// Programmed tells what was done.
type Programmed struct {
	Written int // files that were written
	Right   int // files that were right already
	// OTA is how many of them were keys for messages over the air; 0: the blank keeps
	// those that it has.
	OTA int
	// Unread is how many were written and cannot be read back: the card's rules let
	// nobody read them.
	Unread int
}

// Program writes a subscription to a blank: the ICCID is compared first, then the
// administrative key is given, once, then every file is measured, and only then each is
// read, written where it differs, and read back where the card's rules let it be read. So
// it may be repeated after the card was pulled out. ErrOtherCard, ErrReadBack, ErrLastTry,
// *PINError, *AlgorithmError.
func (c *Card) Program(ctx context.Context, k *Kind, adm []byte, s Subscription) (p Programmed, err error) {
	if len(k.Programming) == 0 {
		return p, ErrNotBlank
	}
	if err := k.Check(); err != nil {
		return p, err
	}
	if err := s.fits(k); err != nil {
		return p, err
	}
	iccid, err := c.ICCID(ctx)
	if err != nil {
		return p, err
	}
	if iccid != s.ICCID {
		return p, ErrOtherCard
	}
	if len(adm) != pinSize {
		return p, ErrPINFormat
	}
	if err := c.verify(ctx, byte(k.ADM), append([]byte(nil), adm...), s.LastTry); err != nil {
		return p, err
	}
	if len(s.PIN1) > 0 {
		if err := c.VerifyPIN(ctx, PIN1, s.PIN1, false); err != nil && !errors.Is(err, ErrPINDisabled) {
			return p, err
		}
	}
	defer c.guard.admit(k)()
	apps, err := c.applications(ctx, k)
	if err != nil {
		return p, err
	}
	files := slices.DeleteFunc(slices.Clone(k.Programming), func(f SIMFile) bool {
		return !s.has(f) || f.Application != "" && apps[f.Application] == nil
	})
	for _, f := range files {
		if err := c.enter(ctx, apps[f.Application]); err != nil {
			return p, err
		}
		if err := c.measure(ctx, f, &s); err != nil {
			return p, fmt.Errorf("%w: nothing was written", err)
		}
	}
	for _, f := range files {
		if err := c.enter(ctx, apps[f.Application]); err != nil {
			return p, err
		}
		done, err := c.program(ctx, f, &s)
		if err != nil {
			return p, err
		}
		switch done {
		case wasRight:
			p.Right++
		case writtenUnread:
			p.Unread++
			p.Written++
		default:
			p.Written++
		}
		if f.Value == "ota" {
			p.OTA++
		}
	}
	return p, c.enter(ctx, apps[""])
}

// applications are the AIDs by what a kind calls them: the one that is selected, and
// the ISIM where the kind writes to it and the card's EF.DIR lists one.
func (c *Card) applications(ctx context.Context, k *Kind) (map[string][]byte, error) {
	apps := map[string][]byte{"": c.aid}
	if !slices.ContainsFunc(k.Programming, func(f SIMFile) bool { return f.Application == applicationISIM }) {
		return apps, nil
	}
	list, err := c.Directory(ctx)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	for _, e := range list {
		if e.Is(ISIM) && apps[applicationISIM] == nil {
			apps[applicationISIM] = e.AID
		}
	}
	return apps, nil
}

// enter selects an application where another is selected.
func (c *Card) enter(ctx context.Context, aid []byte) error {
	if len(aid) == 0 || bytes.Equal(aid, c.aid) {
		return nil
	}
	return c.SelectApplication(ctx, aid)
}

// admit lets the files of a kind through the guard until the returned function is
// called.
func (g *guard) admit(k *Kind) func() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.extra = map[string]bool{}
	for _, f := range k.Programming {
		parts := strings.Split(f.Path, "/")
		for _, dir := range parts[:len(parts)-1] {
			g.extra[dir] = true
		}
		g.extra[strings.Join(parts[len(parts)-2:], "/")] = true
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.extra, g.file = nil, ""
	}
}

// outcome is what became of one file.
type outcome int

const (
	wasRight outcome = iota
	written
	writtenUnread
)

// measure finds out whether a file has room for what it gets.
func (c *Card) measure(ctx context.Context, f SIMFile, s *Subscription) error {
	file, err := c.Select(ctx, f.Path)
	if err != nil {
		return err
	}
	size := file.Size
	if f.Record > 0 || f.Value == "ota" {
		size = file.RecordLength
		f.Record = max(f.Record, 1)
	}
	b, err := f.content(s, size)
	clear(b)
	return err
}

// program writes one file, where it is not right already. A file of keys that nobody
// may read is written each time.
func (c *Card) program(ctx context.Context, f SIMFile, s *Subscription) (outcome, error) {
	file, err := c.Select(ctx, f.Path)
	if err != nil {
		return 0, err
	}
	if f.Value == "ota" && f.Record == 0 {
		if f.Record, err = c.keyRecord(ctx, f, file); err != nil {
			return 0, err
		}
	}
	size := file.Size
	if f.Record > 0 {
		size = file.RecordLength
	}
	want, err := f.content(s, size)
	if err != nil {
		return 0, err
	}
	defer clear(want)
	have, err := c.readFile(ctx, f, len(want))
	unread := f.secret() && errors.Is(err, apdu.SWSecurityStatusNotSatisfied)
	if err != nil && !unread {
		return 0, err
	}
	defer clear(have)
	if !unread && subtle.ConstantTimeCompare(have, want) == 1 {
		return wasRight, nil
	}
	if f.Record > 0 {
		err = c.WriteRecord(ctx, f.Path, f.Record, want)
	} else {
		err = c.Write(ctx, f.Path, f.Offset, want)
	}
	if err != nil {
		return 0, err
	}
	if unread {
		return writtenUnread, nil
	}
	again, err := c.readFile(ctx, f, len(want))
	if err != nil {
		return 0, err
	}
	defer clear(again)
	if subtle.ConstantTimeCompare(again, want) != 1 {
		return 0, fmt.Errorf("file %s: %w", f.Path, ErrReadBack)
	}
	return written, nil
}

func (c *Card) readFile(ctx context.Context, f SIMFile, n int) ([]byte, error) {
	if f.Record > 0 {
		return c.ReadRecord(ctx, f.Path, f.Record)
	}
	whole, err := c.Read(ctx, f.Path)
	if err != nil {
		return nil, err
	}
	if f.Offset+n > len(whole) {
		return nil, fmt.Errorf("file %s: %w: it has %d bytes", f.Path, ErrMalformed, len(whole))
	}
	return whole[f.Offset : f.Offset+n], nil
}

// content is what a file gets.
func (f SIMFile) content(s *Subscription, size int) (b []byte, err error) {
	switch f.Value {
	case "imsi":
		b, err = EncodeIMSI(s.IMSI)
	case "msisdn":
		b, err = EncodeMSISDN(MSISDN{Number: s.MSISDN}, size)
	case "spn":
		b, err = EncodeSPN(SPN{Name: s.SPN})
	case "acc":
		b, err = EncodeACC(s.ACC)
	case "ad":
		b, err = EncodeAD(AD{MNCDigits: s.MNCDigits})
	case "home-network":
		if len(s.IMSI) < 6 || s.MNCDigits != 2 && s.MNCDigits != 3 {
			return nil, fmt.Errorf("%w: the home network comes of the IMSI and the length of its network code", ErrValue)
		}
		home := PLMN{MCC: s.IMSI[:3], MNC: s.IMSI[3 : 3+s.MNCDigits]}
		b, err = EncodePLMNAccess([]PLMNAccess{{home, AccessEUTRA | AccessUTRAN | AccessGSM}}, size)
	case "impi", "impu", "domain":
		b, err = s.imsIdentity(f.Value)
	case "keys":
		if len(s.K) != 16 || len(s.OPc) != 16 {
			return nil, fmt.Errorf("%w: K and OPc have 16 bytes each", ErrValue)
		}
		b = append(append([]byte(nil), s.K...), s.OPc...)
	case TUAK:
		b, err = EncodeTUAK(s.K, s.OPc, s.TUAK)
	case "ota":
		b, err = f.otaKey(s.OTA[f.otaName()])
	default:
		return nil, fmt.Errorf("%w: value %q", ErrValue, f.Value)
	}
	if err != nil {
		return nil, err
	}
	prefix, err := hex.DecodeString(f.Prefix)
	if err != nil {
		return nil, err
	}
	b = append(prefix, b...)
	if f.Record > 0 {
		return fill(b, size)
	}
	if len(b)+f.Offset > size {
		return nil, fmt.Errorf("file %s: %w: %d bytes from %d on in %d", f.Path, ErrValue, len(b), f.Offset, size)
	}
	return b, nil
}

var _ apdu.Card = (*guard)(nil)
