package line

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds"
	"cardbureau/cardio/lds/datagroup"
	"cardbureau/cardio/lds/ec"
	"cardbureau/cardio/lds/proof"
	"cardbureau/cardio/lds/sod"
	"cardbureau/cardio/tlv"
	"cardbureau/personalization/image"
	"cardbureau/personalization/profile"
)

// prover reads a card back as a border reader would, from a reset on, and
// compares every byte with the card image.
type prover struct {
	line    *Line
	session Session
	image   *image.Image
	chip    *profile.Chip
	applet  *profile.Applet // whose application is read
	digest  []byte          // of what was proven, one application after another
}

// reader reads files in blocks as large as the chip gives.
func (p *prover) reader(sm *lds.SecureMessaging) lds.Reader {
	return lds.Reader{Card: sm, Block: p.chip.Limits.ResponseData, AvoidLe00: p.applet.Has(profile.QuirkLeZero)}
}

// proofError says that a card is not what it should be, as opposed to a card
// or key that could not be reached.
type proofError struct{ err error }

func (e *proofError) Error() string { return "proof failed: " + e.err.Error() }

// Unwrap gives the cause.
func (e *proofError) Unwrap() error { return e.err }

func notProven(format string, args ...any) error {
	return &proofError{fmt.Errorf(format, args...)}
}

// failed marks what a check said, unless the card or the keys were merely out
// of reach.
func failed(err error) error {
	if err == nil || unreachable(err) {
		return err
	}
	return &proofError{err}
}

// unreachable tells a lost card or agent from a card that answered wrongly.
func unreachable(err error) bool {
	if errors.Is(err, apdu.ErrInDoubt) || vaultGone(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var (
		sw    apdu.StatusWord
		check *proof.FailedError
		hash  *sod.HashError
		pin   *lds.PINError
	)
	answered := errors.As(err, &sw) || errors.As(err, &check) || errors.As(err, &hash) || errors.As(err, &pin)
	for _, e := range []error{
		lds.ErrAccessDenied, lds.ErrNoCardAccess, lds.ErrNotSupported, lds.ErrSecureMessaging,
		lds.ErrMalformed, lds.ErrChipAuthentication, lds.ErrActiveAuthentication, lds.ErrPINBlocked, lds.ErrPINFormat,
		ec.ErrPoint, ec.ErrInfinity, tlv.ErrMalformed, apdu.ErrMalformed,
	} {
		answered = answered || errors.Is(err, e)
	}
	return !answered
}

// prove makes one stage of the proof and leaves the card as a reset does: what
// comes next is not inside the secure messaging of the proof.
func (p *prover) prove(ctx context.Context, applet *profile.Applet, stage string) error {
	var err error
	p.applet = applet
	switch {
	case stage == profile.ProveLDS, stage == profile.ProveResumed && !applet.Partial():
		err = p.whole(ctx, stage == profile.ProveLDS)
	case stage == profile.ProveLocked:
		err = p.locked(ctx)
	case stage == profile.ProveEMV, stage == profile.ProveResumed && applet.Reading.ChipProof == profile.ProofOffline:
		err = p.payment(ctx)
	default:
		err = fmt.Errorf("proof %q of applet %s is not known", stage, applet.Name)
	}
	if err != nil {
		return err
	}
	return p.session.Reset(ctx)
}

// add adds the digest of one application's proof, 32 bytes.
func (p *prover) add(sum []byte) {
	if p.digest != nil {
		both := sha256.Sum256(append(bytes.Clone(p.digest), sum...))
		sum = both[:]
	}
	p.digest = sum
}

// evidence is the digest of what was proven: card image files, chip key and
// stages, as the database keeps it.
func (p *prover) evidence() []byte { return p.digest }

// open resets the card and opens the application as a reader prefers to: PACE
// with the CAN where the card has it, otherwise BAC.
func (p *prover) open(ctx context.Context) (*lds.SecureMessaging, error) {
	if !p.applet.Opens(accessPACE) {
		return p.openBAC(ctx)
	}
	if err := p.session.Reset(ctx); err != nil {
		return nil, err
	}
	can, err := lds.CAN(p.image.CAN)
	if err != nil {
		return nil, notProven("the card image's CAN: %w", err)
	}
	defer can.Zero()
	raw, infos, err := lds.ReadCardAccess(ctx, p.session)
	if err != nil {
		return nil, failed(err)
	}
	if want, err := p.image.Element("card-access"); err != nil || !bytes.Equal(raw, want) {
		return nil, notProven("EF.CardAccess is not what was written")
	}
	sm, err := lds.OpenPACE(ctx, p.session, can, infos)
	if err != nil {
		return nil, failed(fmt.Errorf("PACE with the CAN: %w", err))
	}
	if err := lds.EnterApplication(ctx, sm); err != nil {
		return nil, failed(err)
	}
	return sm, nil
}

// openBAC resets the card and opens it as readers without PACE do.
func (p *prover) openBAC(ctx context.Context) (*lds.SecureMessaging, error) {
	if err := p.session.Reset(ctx); err != nil {
		return nil, err
	}
	mrz, err := lds.MRZ(p.image.DocumentNumber, p.image.BirthDate, p.image.ExpiryDate)
	if err != nil {
		return nil, notProven("the card image's MRZ: %w", err)
	}
	defer mrz.Zero()
	if err := lds.SelectApplication(ctx, p.session); err != nil {
		return nil, failed(err)
	}
	if err := p.closed(ctx); err != nil {
		return nil, err
	}
	sm, err := lds.OpenBAC(ctx, p.session, mrz)
	if err != nil {
		return nil, failed(fmt.Errorf("BAC: %w", err))
	}
	return sm, nil
}

// Access controls and chip proofs, as firmware profiles name them.
const (
	accessPACE           = "pace"
	accessBAC            = "bac"
	chipAuthentication   = "chip-authentication"
	activeAuthentication = "active-authentication"
)

// whole reads everything back. hidden says whether the file behind the
// holder's PIN can be read: before the lock the transport PIN opens it, after
// it only the holder's own PIN does.
func (p *prover) whole(ctx context.Context, hidden bool) error {
	sm, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer func() { sm.Close() }()
	files, ids, names := p.files()
	read, err := p.reader(sm).Files(ctx, ids...)
	if err != nil {
		return failed(err)
	}
	sum := sha256.New()
	for i, name := range names {
		if !bytes.Equal(read[i], files[name]) {
			return notProven("file %s is not what was written", name)
		}
		sum.Write(read[i])
	}
	if err := p.passive(read, names); err != nil {
		return err
	}
	if err := p.vouched(); err != nil {
		return err
	}
	switch p.applet.Reading.ChipProof {
	case chipAuthentication:
		sm, err = p.chipAuthentication(ctx, sm)
	case activeAuthentication:
		err = p.activeAuthentication(ctx, sm)
	default:
		err = notProven("applet %s names no proof of its chip", p.applet.Name)
	}
	if err != nil {
		return err
	}
	if hidden && p.applet.Reading.PIN {
		if err := p.behindPIN(ctx, sm); err != nil {
			return err
		}
	}
	if p.applet.Opens(accessPACE) && p.applet.Opens(accessBAC) {
		if err := p.basicAccess(ctx); err != nil {
			return err
		}
	}
	sum.Write(p.image.ChipKey)
	sum.Write(p.image.ActiveKey)
	p.add(sum.Sum(nil))
	return nil
}

// chipAuthentication has the chip prove that it holds the key which the signed
// DG14 names, and goes on under the keys that come of it.
func (p *prover) chipAuthentication(ctx context.Context, sm *lds.SecureMessaging) (*lds.SecureMessaging, error) {
	der, err := datagroup.DG14(p.image.Files["dg14"])
	if err != nil {
		return sm, notProven("DG14: %w", err)
	}
	dg14, err := lds.ParseSecurityInfos(der)
	if err != nil {
		return sm, notProven("DG14: %w", err)
	}
	if _, key, err := dg14.ChipAuthKey(); err != nil || !bytes.Equal(key, p.image.ChipKey) {
		return sm, notProven("DG14 does not name the chip's own key")
	}
	next, err := lds.ChipAuthentication(ctx, sm, dg14)
	if err != nil {
		return sm, failed(fmt.Errorf("chip authentication: %w", err))
	}
	return next, nil
}

// activeAuthentication has the chip sign with the key that the signed DG15
// names.
func (p *prover) activeAuthentication(ctx context.Context, sm *lds.SecureMessaging) error {
	der, err := datagroup.DG15(p.image.Files["dg15"])
	if err != nil {
		return notProven("DG15: %w", err)
	}
	if !bytes.Equal(der, p.image.ActiveKey) {
		return notProven("DG15 does not name the chip's own key")
	}
	key, err := lds.ParseActiveKey(der, nil)
	if err != nil {
		return notProven("DG15: %w", err)
	}
	if err := lds.ActiveAuthentication(ctx, sm, key); err != nil {
		return failed(fmt.Errorf("active authentication: %w", err))
	}
	return nil
}

// files lists the files of the application, EF.SOD and EF.COM first.
func (p *prover) files() (files map[string][]byte, ids []lds.File, names []string) {
	files = p.image.Files
	for name := range files {
		if name != "card-access" && name != "services" && name != "binding" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		id := lds.FileCOM
		switch {
		case name == "sod":
			id = lds.FileSOD
		case strings.HasPrefix(name, "dg"):
			n, _ := strconv.Atoi(name[2:])
			id = lds.FileDG(n)
		}
		ids = append(ids, lds.File{ID: id, Size: len(files[name])})
	}
	return files, ids, names
}

// passive is passive authentication of what was read: signature, way to the
// CSCA, hashes.
func (p *prover) passive(read [][]byte, names []string) error {
	var object *sod.SOD
	for i, name := range names {
		if name == "sod" {
			var err error
			if object, err = sod.Parse(read[i]); err != nil {
				return notProven("EF.SOD: %w", err)
			}
		}
	}
	if object == nil {
		return notProven("the card has no EF.SOD")
	}
	report := object.Verify(p.line.Trust, p.line.now())
	if err := report.Err(); err != nil {
		return notProven("passive authentication: %w", err)
	}
	// A reader passes over what it cannot check. Whoever issues may not.
	for _, c := range report.Checks {
		if !c.OK {
			return notProven("passive authentication: %s was not checked: %s", c.Name, c.Reason)
		}
	}
	groups := 0
	for i, name := range names {
		if !strings.HasPrefix(name, "dg") {
			continue
		}
		n, _ := strconv.Atoi(name[2:])
		if err := object.CheckHash(n, read[i]); err != nil {
			return notProven("passive authentication: %w", err)
		}
		groups++
	}
	if groups != len(object.Hashes) {
		return notProven("EF.SOD vouches for %d data groups, the card has %d", len(object.Hashes), groups)
	}
	return nil
}

// basicAccess opens the card as readers without PACE do and reads EF.COM.
func (p *prover) basicAccess(ctx context.Context) error {
	sm, err := p.openBAC(ctx)
	if err != nil {
		return err
	}
	defer sm.Close()
	return p.com(ctx, sm)
}

// closed checks that the chip tells nobody who is on it who has not read the
// card: DG1 must be refused.
func (p *prover) closed(ctx context.Context) error {
	_, err := lds.ReadFile(ctx, p.session, lds.FileDG(1))
	if err == nil {
		return notProven("DG1 can be read without access control")
	}
	var sw apdu.StatusWord
	if !errors.As(err, &sw) {
		return failed(err)
	}
	return nil
}

func (p *prover) com(ctx context.Context, sm *lds.SecureMessaging) error {
	want := p.image.Files["com"]
	read, err := p.reader(sm).Files(ctx, lds.File{ID: lds.FileCOM, Size: len(want)})
	if err != nil {
		return failed(fmt.Errorf("EF.COM: %w", err))
	}
	if !bytes.Equal(read[0], want) {
		return notProven("EF.COM is not what was written")
	}
	return nil
}

// locked proves that a locked card still answers.
func (p *prover) locked(ctx context.Context) error {
	sm, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer sm.Close()
	return p.com(ctx, sm)
}
