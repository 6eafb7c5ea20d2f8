package pairing

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"cardbureau/hsm/aka"
	"cardbureau/hsm/simkeys"
	"cardbureau/personalization/pairing/opfile"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// OwnCentre is the bureau's own authentication centre, for SIMs whose keys it has:
// the keys are opened in the HSM agent alone, sequence numbers are in the database.
// Its fields are set once; it is then safe for concurrent use.
type OwnCentre struct {
	Store  *store.Store
	Vault  *vault.Client
	Scheme vault.SIMScheme // of the SIMs' sequence numbers; zero: the usual one
	// Forms says in which form the keys of a vendor's file are, by the profile in its
	// header. Files of other profiles are refused.
	Forms map[string]simkeys.Form
}

var _ AuthenticationCentre = (*OwnCentre)(nil)

// ErrNotOwn: the bureau does not have the SIM's keys.
var ErrNotOwn = errors.New("the bureau has no keys of this SIM")

func (c *OwnCentre) ref(ctx context.Context, iccid ICCID) ([]byte, error) {
	return c.Vault.ICCIDRef(ctx, iccid.Digits())
}

// notOwn says what not found means.
func notOwn(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return ErrNotOwn
	}
	return err
}

// Keys are a SIM's, as only the HSM agent can open them; ErrNotOwn.
func (c *OwnCentre) Keys(ctx context.Context, iccid ICCID) (vault.SIMKeys, error) {
	ref, err := c.ref(ctx, iccid)
	if err != nil {
		return vault.SIMKeys{}, err
	}
	k, err := c.Store.SIMKeyOf(ctx, ref)
	return vault.SIMKeys{Wrapped: k.Sealed, ICCID: iccid.Digits(), Batch: k.Batch}, notOwn(err)
}

// Challenge implements AuthenticationCentre. The sequence number is used up in the
// database before the SIM sees AUTN.
func (c *OwnCentre) Challenge(ctx context.Context, r ChallengeRequest) (out Challenge, err error) {
	ref, err := c.ref(ctx, r.ICCID)
	if err != nil {
		return out, err
	}
	if _, err := rand.Read(out.Seed[:]); err != nil {
		return out, err
	}
	out.RAND = Rand(r.Session, r.Nonce, out.Seed)
	_, _, err = c.Store.NextSQN(ctx, ref, func(k store.SIMKey, last uint64) (uint64, error) {
		keys := vault.SIMKeys{Wrapped: k.Sealed, ICCID: r.ICCID.Digits(), Batch: k.Batch}
		if r.Resync != nil {
			resync := vault.SIMResyncRequest{Keys: keys, Scheme: c.Scheme, Last: last, RAND: r.Resync.RAND[:], AUTS: r.Resync.AUTS}
			if last, err = c.Vault.SIMResync(ctx, resync); err != nil {
				return 0, err
			}
		}
		v, err := c.Vault.SIMVector(ctx, vault.SIMVectorRequest{
			Keys: keys, Scheme: c.Scheme, Last: last, AMF: [2]byte{0x80, 0}, RAND: out.RAND[:], Session: r.Session[:],
		})
		if err != nil {
			return 0, err
		}
		if len(v.AUTN) != len(out.AUTN) {
			return 0, errors.New("the HSM agent made no AUTN of 16 bytes")
		}
		out.AUTN, out.Expected = [16]byte(v.AUTN), v.Expected
		return v.SQN, nil
	})
	return out, notOwn(err)
}

// Check implements AuthenticationCentre.
func (c *OwnCentre) Check(ctx context.Context, r ChallengeRequest, ch Challenge, res vault.Secret) error {
	ok, err := c.Vault.SIMCheckRES(ctx, vault.SIMCheckRequest{Expected: ch.Expected, ICCID: r.ICCID.Digits(), Session: r.Session[:], RES: res})
	if err == nil && !ok {
		err = ErrResponse
	}
	return err
}

// Register draws the keys of SIMs that the bureau programs itself, as a batch of that
// name, for TUAK with these parameters; nil: for MILENAGE. already says that the same
// batch was registered before.
func (c *OwnCentre) Register(ctx context.Context, batch string, iccids []ICCID, tuak *aka.TUAKParameters, by store.Actor) (already bool, err error) {
	var list strings.Builder
	for _, i := range iccids {
		list.WriteString(i.Digits() + "\n")
	}
	digest := sha256.Sum256([]byte(list.String()))
	b := store.SIMBatch{ID: store.NewID(), Name: batch, Digest: digest[:], SIMs: len(iccids)}
	return c.Store.ImportSIMs(ctx, b, func(yield func(store.SIMKey, error) bool) {
		for _, i := range iccids {
			keys, err := c.Vault.NewSIMKeys(ctx, i.Digits(), batch, tuak)
			k := store.SIMKey{}
			if err == nil {
				k, err = c.stored(ctx, keys)
			}
			if !yield(k, err) || err != nil {
				return
			}
		}
	}, by)
}

func (c *OwnCentre) stored(ctx context.Context, keys vault.SIMKeys) (store.SIMKey, error) {
	ref, err := c.Vault.ICCIDRef(ctx, keys.ICCID)
	return store.SIMKey{ID: store.NewID(), ICCIDRef: ref, Sealed: keys.Wrapped}, err
}

// Import takes a vendor's output file in, whole or not at all: it is checked to its
// end before the first key is opened. already says that the same file came before;
// store.ErrBatchDiffers that another one of the batch did, store.ErrSIMKnown that one
// of its SIMs is known; opfile.ErrFile names the lines that are refused. The file's
// PINs and ADM keys are not kept.
func (c *OwnCentre) Import(ctx context.Context, file io.ReadSeeker, by store.Actor) (s opfile.Summary, already bool, err error) {
	if s, err = opfile.Check(file, opfile.Output); err != nil {
		return s, false, err
	}
	form, ok := c.Forms[s.Header.Profile]
	if !ok || !form.Known() {
		return s, false, fmt.Errorf("%w: nothing says in which form the keys of its profile are", opfile.ErrFile)
	}
	b := store.SIMBatch{ID: store.NewID(), Name: s.Header.Batch, Digest: s.Digest[:], SIMs: s.Header.Quantity}
	already, err = c.Store.ImportSIMs(ctx, b, c.rows(ctx, file, s, form), by)
	return s, already, err
}

// keysAtOnce is how many rows the HSM agent opens in one call.
const keysAtOnce = 500

// rows reads a checked file once more and has its keys wrapped.
func (c *OwnCentre) rows(ctx context.Context, file io.ReadSeeker, s opfile.Summary, form simkeys.Form) iter.Seq2[store.SIMKey, error] {
	return func(yield func(store.SIMKey, error) bool) {
		err := c.eachRow(ctx, file, s, form, func(k store.SIMKey) bool { return yield(k, nil) })
		if err != nil && !errors.Is(err, errStopped) {
			yield(store.SIMKey{}, err)
		}
	}
}

var errStopped = errors.New("stopped")

func (c *OwnCentre) eachRow(ctx context.Context, file io.ReadSeeker, s opfile.Summary, form simkeys.Form, yield func(store.SIMKey) bool) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	hash := sha256.New()
	f, err := opfile.NewReader(io.TeeReader(file, hash), opfile.Output)
	if err != nil {
		return err
	}
	var rows []vault.SIMKeyRow
	flush := func() error {
		if len(rows) == 0 {
			return nil
		}
		all, err := c.Vault.SIMKeysIn(ctx, vault.SIMKeysInRequest{
			TransportKey: s.Header.TransportKey, Form: form, Batch: s.Header.Batch, TUAK: s.Header.TUAK, Delegated: s.Header.Programming, Rows: rows,
		})
		if err != nil {
			return fmt.Errorf("the keys of batch %q: %w", s.Header.Batch, err)
		}
		for _, keys := range all {
			k, err := c.stored(ctx, keys)
			if err != nil {
				return err
			}
			if !yield(k) {
				return errStopped
			}
		}
		rows = rows[:0]
		return nil
	}
	for row, err := range f.Rows() {
		if err != nil {
			return err
		}
		rows = append(rows, vault.SIMKeyRow{ICCID: row.ICCID, Sealed: row.Keys, K: row.KI, OPc: row.OPC, OTA: row.OTA, IV: row.IV})
		row.Zero()
		if len(rows) == keysAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if [32]byte(hash.Sum(nil)) != s.Digest {
		return fmt.Errorf("%w: it changed while it was read", opfile.ErrFile)
	}
	return nil
}
