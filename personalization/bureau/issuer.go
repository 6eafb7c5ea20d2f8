package bureau

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"cardbureau/cardio/emv/ecsdsa"
	"cardbureau/cardio/emv/oda"
	"cardbureau/cardio/emv/xda"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/vault"
)

// Issuer reads the certificates of the bank's keys. It is the zero value where there
// are none: products with a bank account cannot be prepared then.
func (b *Bureau) Issuer() (vault.IssuerInfo, error) { return readIssuer(b.Dir) }

func readIssuer(dir string) (info vault.IssuerInfo, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, IssuerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return info, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &info)
	}
	if err != nil {
		return info, fmt.Errorf("the issuer's certificate, %s: %w", IssuerFile, err)
	}
	return info, nil
}

// needsIssuer says what a product with a bank account lacks.
func (b *Bureau) needsIssuer() error {
	info, err := b.Issuer()
	if err != nil {
		return err
	}
	for _, r := range b.Config.Rules {
		p := b.Profiles.Products[r.Name]
		if p == nil || p.Payment == "" {
			continue
		}
		if s := b.Profiles.Payment(p); s != nil && s.Authenticates(payment.XDA) {
			if info.ECC.For(s.RID(), s.CA.Index) == nil {
				return fmt.Errorf("product %s has a bank account with xda, and %s has no certificate of the issuer's key under authority key %02X of %X (%s, ecc): bank issuer takes it in, and in development init makes it", r.Name, b.Dir, s.CA.Index, s.RID(), IssuerFile)
			}
			continue
		}
		if info.Certificate == nil {
			return fmt.Errorf("product %s has a bank account, and %s has no certificate of the issuer's key (%s): bank issuer takes it in, and in development init makes it", r.Name, b.Dir, IssuerFile)
		}
	}
	return nil
}

// SetIssuer takes in what a scheme's authority has made of the issuer's keys, of RSA,
// of elliptic curves, or both, after recovering each certificate with the authority's
// key: it must be under the authority that a payment scheme names, hold the token's
// key, be of the scheme's BIN, and not have expired. With a bin only schemes that have
// it count. Each replaces the one before, of an elliptic curve the one under the same
// authority's key; one that is not there is left as it is.
func (b *Bureau) SetIssuer(ctx context.Context, info vault.IssuerInfo, bin string, now time.Time) error {
	if info.Certificate == nil && len(info.ECC) == 0 {
		return errors.New("there is no certificate of the scheme's authority in it: it has \"certificate\" (RSA), \"ecc\", or both")
	}
	have, err := b.Issuer()
	if err != nil {
		return err
	}
	ecc := have.ECC
	for _, e := range info.ECC {
		if err := b.checkECC(ctx, e, bin, now); err != nil {
			return err
		}
		ecc = ecc.With(e)
	}
	if info.Certificate == nil {
		info = have
	} else if err := b.checkRSA(ctx, info, bin, now); err != nil {
		return err
	}
	info.ECC = ecc
	raw, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.Dir, IssuerFile), append(raw, '\n'), 0o644)
}

// under are the BINs of the payment schemes whose cards name an authority's key: by
// RID and index, apart for RSA and for elliptic curves (EMV 4.4 Book 2, 5.2 and 12.2).
func (b *Bureau) under(rid []byte, index byte, ecc bool, bin string) (bins []string, err error) {
	var named []string
	rids := false
	for _, name := range slices.Sorted(maps.Keys(b.Profiles.Payments)) {
		s := b.Profiles.Payments[name]
		if s.Authenticates(payment.XDA) != ecc || bin != "" && s.BIN != bin {
			continue
		}
		named = append(named, fmt.Sprintf("%02X of %X (%s)", s.CA.Index, s.RID(), name))
		if !bytes.Equal(s.RID(), rid) {
			continue
		}
		rids = true
		if s.CA.Index == index && !slices.Contains(bins, s.BIN) {
			bins = append(bins, s.BIN)
		}
	}
	switch {
	case len(bins) > 0:
		return bins, nil
	case len(named) == 0:
		return nil, fmt.Errorf("no payment scheme with this kind of key has BIN %s", bin)
	case !rids:
		return nil, fmt.Errorf("rid %X is none of a payment scheme's AID; the schemes name authority keys %v", rid, named)
	}
	return nil, fmt.Errorf("caIndex %02X is not the ca.index of a payment scheme under RID %X; the schemes name authority keys %v", index, rid, named)
}

// identifies explains an issuer identifier that is not the BIN's, or longer than it:
// not all of the cards would begin with it (Book 2, 5.3 step 6 and 12.3 step 4).
func identifies(err error, bin string, of error) error {
	if errors.Is(err, of) {
		return fmt.Errorf("its issuer identifier is longer than BIN %s or not how it begins: %w", bin, err)
	}
	return err
}

// checkECC recovers the certificate of the issuer's key of an elliptic curve.
func (b *Bureau) checkECC(ctx context.Context, e vault.ECCIssuer, bin string, now time.Time) error {
	bins, err := b.under(e.RID, e.CAIndex, true, bin)
	if err != nil {
		return fmt.Errorf("the issuer's certificate of an elliptic curve key: %w", err)
	}
	authority := xda.Authority{RID: e.RID, Index: e.CAIndex, Key: ecsdsa.PublicKey{Suite: e.CASuite, X: e.CAKey}}
	if err := authority.Key.Check(); err != nil {
		return fmt.Errorf("the authority's key of an elliptic curve: %w", err)
	}
	var key ecsdsa.PublicKey
	for _, bin := range bins {
		if key, err = xda.RecoverIssuer(authority, bin, e.Certificate, now); err != nil {
			return fmt.Errorf("the issuer's certificate of an elliptic curve key: %w", identifies(err, bin, xda.ErrIdentifier))
		}
	}
	own, err := b.Vault.IssuerECC(ctx, key.Suite)
	if err != nil {
		return err
	}
	if !key.Equal(own) || key.Suite != e.Suite {
		return errors.New("the certificate of an elliptic curve key is of another key than the token's, or suite is another")
	}
	if until := fmt.Sprintf("%X", e.Certificate[8:12]); e.Expires != until { // format 12, field 5
		return fmt.Errorf("expires of ecc is not the certificate's last day, %s", until)
	}
	return checkDay(e.CAExpires)
}

func (b *Bureau) checkRSA(ctx context.Context, info vault.IssuerInfo, bin string, now time.Time) error {
	bins, err := b.under(info.RID, info.CAIndex, false, bin)
	if err != nil {
		return fmt.Errorf("the issuer's certificate: %w", err)
	}
	modulus, exponent, err := b.Vault.IssuerKey(ctx)
	if err != nil {
		return err
	}
	authority := oda.PublicKey{Modulus: info.CAModulus, Exponent: info.CAExponent}
	if err := authority.Check(); err != nil {
		return fmt.Errorf("the authority's key: %w", err)
	}
	for _, bin := range bins {
		key, err := oda.RecoverIssuer(authority, bin, info.Certificate, info.Remainder, info.Exponent, now)
		if err != nil {
			return fmt.Errorf("the issuer's certificate: %w", identifies(err, bin, oda.ErrIdentifier))
		}
		if !bytes.Equal(key.Modulus, modulus) || !bytes.Equal(key.Exponent, exponent) {
			return errors.New("the issuer's certificate is of another key than the token's")
		}
	}
	if _, err := time.Parse("0106", info.Expires); err != nil {
		return errors.New("expires is not the month of the issuer's certificate, as MMYY")
	}
	return checkDay(info.CAExpires)
}

func checkDay(day string) error {
	if _, err := time.Parse("20060102", day); day != "" && err != nil {
		return errors.New("caExpires is not the last day of the authority's key, as YYYYMMDD")
	}
	return nil
}

// IssuerEnds says, a sentence each, which products in use make cards that outlast the
// issuer's certificate or the authority's key. Such a card works, but offline data
// authentication fails once they have ended, and terminals send it online or decline.
func (b *Bureau) IssuerEnds(now time.Time) (out []string, err error) {
	info, err := b.Issuer()
	if err != nil {
		return nil, err
	}
	for _, r := range b.Config.Rules {
		p := b.Profiles.Products[r.Name]
		if p == nil || p.Payment == "" {
			continue
		}
		s := b.Profiles.Payment(p)
		if s == nil {
			continue
		}
		certificate, authority := "", info.CAExpires
		if e := info.ECC.For(s.RID(), s.CA.Index); s.Authenticates(payment.XDA) {
			if e == nil {
				continue
			}
			certificate, authority = e.Expires, e.CAExpires
		} else if month, err := time.Parse("0106", info.Expires); err == nil {
			certificate = month.AddDate(0, 1, -1).Format("20060102")
		}
		end := now.UTC().AddDate(p.Validity.LifetimeYears, 0, 0).Format("20060102")
		for what, day := range map[string]string{"issuer's certificate": certificate, "authority's key": authority} {
			if day != "" && day < end {
				out = append(out, fmt.Sprintf("product %s: the %s ends on %s-%s-%s, before cards made today (%s-%s-%s); their offline data authentication fails from then on",
					r.Name, what, day[:4], day[4:6], day[6:], end[:4], end[4:6], end[6:]))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
