package uicc

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"cardbureau/cardio/apdu"
)

// Kind is a kind of SIM, as a profile says it: who gave it out, and what may be written
// to it. It is data; see firmware-profiles/sims.
type Kind struct {
	Kind  string `yaml:"kind"` // sim
	Name  string `yaml:"name"`
	Title string `yaml:"title"`
	// Programming are the files that are written to a blank, in their order; none: the
	// card is its operator's, read and asked to authenticate only.
	Programming []SIMFile `yaml:"programming"`
	// ADM is the reference of the key behind which they are written.
	ADM int `yaml:"adm"`
	// ATRs are patterns of answers to reset, hexadecimal with ? for any digit; none:
	// any.
	ATRs []string `yaml:"atrs"`
}

// SIMFile is a file that is programmed.
type SIMFile struct {
	Path   string `yaml:"path"`   // from the master file: 7FFF/AF20, A515/6F20
	Record int    `yaml:"record"` // of a record file, from 1; 0: a transparent file
	Value  string `yaml:"value"`  // imsi, msisdn, spn, acc, ad, home-network, keys
	// Prefix stands before the value, hexadecimal: of keys the byte that says the
	// algorithm and that OPc follows.
	Prefix string `yaml:"prefix"`
	// Offset is where a transparent file is written from.
	Offset int `yaml:"offset"`
	// If names a value without which the file is left alone.
	If string `yaml:"if"`
}

var (
	pathForm = regexp.MustCompile(`^[0-9A-F]{4}(/[0-9A-F]{4})+$`)
	atrForm  = regexp.MustCompile(`^([0-9A-F?]{2})+$`)
	values   = []string{"imsi", "msisdn", "spn", "acc", "ad", "home-network", "keys"}
)

// Check says what a kind lacks, in one sentence.
func (k *Kind) Check() error {
	if k.Name == "" || k.Title == "" {
		return errors.New("a kind of SIM has a name and a title")
	}
	if len(k.Programming) > 0 && (k.ADM < 1 || k.ADM > 0xFF) {
		return fmt.Errorf("kind %s: files are programmed behind an administrative key: adm is its reference, 10 for ADM1", k.Name)
	}
	for _, a := range k.ATRs {
		if !atrForm.MatchString(a) {
			return fmt.Errorf("kind %s: %q is no pattern of an answer to reset", k.Name, a)
		}
	}
	for i, f := range k.Programming {
		at := fmt.Sprintf("kind %s, programming[%d]", k.Name, i)
		known := false
		for _, v := range values {
			known = known || v == f.Value
		}
		prefix, err := hex.DecodeString(f.Prefix)
		switch {
		case !pathForm.MatchString(f.Path):
			return fmt.Errorf("%s: %q is no path from the master file, such as 7FFF/6F07", at, f.Path)
		case strings.HasSuffix(f.Path, "2FE2"):
			return fmt.Errorf("%s: the ICCID is never written: it says which card this is", at)
		case !programmable(f.Path):
			return fmt.Errorf("%s: file %s is neither on the list of what may be touched nor the maker's own", at, f.Path)
		case !known:
			return fmt.Errorf("%s: value %q is none of %s", at, f.Value, strings.Join(values, ", "))
		case err != nil || len(prefix) > 16:
			return fmt.Errorf("%s: prefix %q is not in hexadecimal digits", at, f.Prefix)
		case f.Record < 0 || f.Offset < 0 || f.Record > 0 && f.Offset > 0:
			return fmt.Errorf("%s: record and offset are of different kinds of files", at)
		}
	}
	return nil
}

// Fits reports whether an answer to reset is one of the kind's.
func (k *Kind) Fits(atr []byte) bool {
	text := strings.ToUpper(hex.EncodeToString(atr))
	for _, pattern := range k.ATRs {
		fits := len(pattern) == len(text)
		for i := 0; fits && i < len(text); i++ {
			fits = pattern[i] == '?' || pattern[i] == text[i]
		}
		if fits {
			return true
		}
	}
	return len(k.ATRs) == 0
}

// Subscription is what is programmed. Fields that are empty are left alone where the
// kind says so, and are an error otherwise.
type Subscription struct {
	ICCID     string // that the card must have before anything is written
	IMSI      string
	MNCDigits int // 2 or 3
	MSISDN    string
	SPN       string
	ACC       uint16
	Keys      Secret // K ‖ OPc, 32 bytes
	// PIN1 is given where the blank asks for it: files are read back behind it.
	PIN1 Secret
}

// Errors of programming.
var (
	// ErrOtherCard says that the card has another ICCID than the order's: nothing was
	// written.
	ErrOtherCard = errors.New("uicc: this is another SIM than the order's: nothing was written")
	// ErrReadBack says that a file does not say what was written to it.
	ErrReadBack = errors.New("uicc: the SIM does not hold what was written")
	// ErrNotBlank says that a kind is not programmed.
	ErrNotBlank = errors.New("uicc: SIMs of this kind are their operator's and are not programmed")
)

// Programmed tells what was done.
type Programmed struct {
	Written int // files that were written
	Right   int // files that were right already
}

// Program writes a subscription to a blank: the ICCID is compared first, then the
// administrative key is given, once, then each file is read, written where it differs,
// and read back. So it may be repeated after the card was pulled out. ErrOtherCard,
// ErrReadBack, ErrLastTry, *PINError.
func (c *Card) Program(ctx context.Context, k *Kind, adm []byte, s Subscription) (p Programmed, err error) {
	if len(k.Programming) == 0 {
		return p, ErrNotBlank
	}
	if err := k.Check(); err != nil {
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
	if err := c.verify(ctx, byte(k.ADM), append([]byte(nil), adm...), false); err != nil {
		return p, err
	}
	if len(s.PIN1) > 0 {
		if err := c.VerifyPIN(ctx, PIN1, s.PIN1, false); err != nil && !errors.Is(err, ErrPINDisabled) {
			return p, err
		}
	}
	defer c.guard.admit(k)()
	for _, f := range k.Programming {
		done, err := c.program(ctx, f, &s)
		if err != nil {
			return p, err
		}
		switch {
		case done == nil:
		case *done:
			p.Written++
		default:
			p.Right++
		}
	}
	return p, nil
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

// program writes one file; nil: there is nothing to write, false: it was right.
func (c *Card) program(ctx context.Context, f SIMFile, s *Subscription) (*bool, error) {
	file, err := c.Select(ctx, f.Path)
	if err != nil {
		return nil, err
	}
	size := file.Size
	if f.Record > 0 {
		size = file.RecordLength
	}
	want, err := f.content(s, size)
	if err != nil || want == nil {
		return nil, err
	}
	defer clear(want)
	have, err := c.readFile(ctx, f, len(want))
	if err != nil {
		return nil, err
	}
	defer clear(have)
	right := subtle.ConstantTimeCompare(have, want) == 1
	wrote := !right
	if right {
		return &wrote, nil
	}
	if f.Record > 0 {
		err = c.WriteRecord(ctx, f.Path, f.Record, want)
	} else {
		err = c.Write(ctx, f.Path, f.Offset, want)
	}
	if err != nil {
		return nil, err
	}
	again, err := c.readFile(ctx, f, len(want))
	if err != nil {
		return nil, err
	}
	defer clear(again)
	if subtle.ConstantTimeCompare(again, want) != 1 {
		return nil, fmt.Errorf("file %s: %w", f.Path, ErrReadBack)
	}
	return &wrote, nil
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

// content is what a file gets; nil: it is left alone.
func (f SIMFile) content(s *Subscription, size int) (b []byte, err error) {
	switch f.Value {
	case "imsi":
		b, err = EncodeIMSI(s.IMSI)
	case "msisdn":
		if s.MSISDN == "" && f.If == "msisdn" {
			return nil, nil
		}
		b, err = EncodeMSISDN(MSISDN{Number: s.MSISDN}, size)
	case "spn":
		if s.SPN == "" && f.If == "spn" {
			return nil, nil
		}
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
	case "keys":
		if len(s.Keys) != 32 {
			return nil, fmt.Errorf("%w: K and OPc have 16 bytes each", ErrValue)
		}
		b = append([]byte(nil), s.Keys...)
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
