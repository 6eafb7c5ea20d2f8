package bureau

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"cardbureau/cardio/lds/sod"
	"cardbureau/personalization/line"
	"cardbureau/personalization/store"
)

// Trusted are the CSCA certificates, with their revocation list where there is
// one, as passive authentication wants them.
func (b *Bureau) Trusted() (*sod.Trust, error) {
	ders, err := b.CSCAs()
	if err != nil {
		return nil, err
	}
	var certs []*sod.Certificate
	for _, der := range ders {
		c, err := sod.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("the country signing certificate: %w", err)
		}
		certs = append(certs, c)
	}
	trust, err := sod.NewTrust(certs...)
	if err != nil {
		return nil, err
	}
	der, err := b.Certificate(crlName)
	if errors.Is(err, fs.ErrNotExist) {
		return trust, nil // what needs it says so: Trust.Current
	}
	var crl *sod.CRL
	if err == nil {
		crl, err = sod.ParseCRL(der)
	}
	if err == nil {
		err = trust.AddCRL(crl)
	}
	if err != nil {
		return nil, fmt.Errorf("the country signing CA's revocation list: %w", err)
	}
	return trust, nil
}

// Line opens this process's station and returns a line over it. Close ends the
// station: attempts still running are then in doubt.
func (b *Bureau) Line(ctx context.Context, actor store.Actor, events func(line.Event)) (l *line.Line, closeLine func() error, err error) {
	trust, err := b.Trusted()
	if err != nil {
		return nil, nil, err
	}
	// Without it no card could be proven, and every blank would be lost.
	if err := trust.Current(time.Now()); err != nil {
		return nil, nil, fmt.Errorf("no card can be proven: %w (cardbureau init --data %s issues a new list)", err, b.Dir)
	}
	issuer, err := b.Issuer()
	if err != nil {
		return nil, nil, err
	}
	if _, err := b.Store.OpenShift(ctx, actor); err != nil && !errors.Is(err, store.ErrWrongState) {
		return nil, nil, fmt.Errorf("open the shift: %w", err)
	}
	station, err := b.Store.OpenStation(ctx, b.Config.Station, actor)
	if err != nil {
		return nil, nil, err
	}
	l = &line.Line{
		Issuer: issuer,
		Store:  b.Store, Station: station, Vault: b.Vault, Profiles: b.Profiles, Trust: trust,
		Development: b.Config.Development(), Events: events,
	}
	return l, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return station.Close(ctx)
	}, nil
}
