package bureau

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"time"

	"cardbureau/cardio/feeder"
	"cardbureau/cardio/lds/sod"
	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/personalization/line"
	"cardbureau/personalization/store"
)

// RunFolder is where running processes of this data folder describe
// themselves.
func (b *Bureau) RunFolder() string { return filepath.Join(b.Dir, "run") }

// UseReaders points this process at the virtual readers that run for this data
// folder, if any; else at the machine's PC/SC service. Call it before the first
// use of readers. It returns the control socket of each virtual reader.
func UseReaders(dir string) (control map[string]int, socket string, err error) {
	r, err := pcscd.ReadReaders(filepath.Join(dir, "run"))
	if err != nil || !answers(r.Socket) {
		return nil, "", nil // none runs here, or what ran was killed
	}
	if err := pcsc.UseSocket(r.Socket); err != nil {
		return nil, "", err
	}
	control = map[string]int{}
	for i, reader := range r.Readers {
		control[reader.Name] = i
		socket = reader.Control
	}
	return control, socket, nil
}

// answers reports whether somebody listens on a unix socket.
func answers(socket string) bool {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// Slots opens the readers of this station, each with its feeder: the rack for
// virtual readers, a person for others, whom ask tells what to do. patterns are
// selectors of pcsc.Context.Choose and override the configuration's.
// Call stop when the line is done.
func (b *Bureau) Slots(ctx context.Context, patterns []string, ask func(feeder.Request)) (slots []line.Slot, stop func(), err error) {
	if len(patterns) == 0 {
		patterns = b.Config.Line.Readers
	}
	virtual, socket, err := UseReaders(b.Dir)
	if err != nil {
		return nil, nil, err
	}
	pc, err := pcsc.Open()
	if err != nil {
		return nil, nil, err
	}
	defer pc.Close()
	all, err := pc.Readers()
	if err != nil {
		return nil, nil, err
	}
	if virtual != nil {
		// The driver has two slots a copy: one may be without a rack behind it.
		all = slices.DeleteFunc(all, func(name string) bool { _, ok := virtual[name]; return !ok })
	}
	names, err := pc.Choose(ctx, all, patterns)
	if err != nil {
		return nil, nil, err
	}
	var open []*line.PCSC
	stop = func() {
		for _, r := range open {
			r.Close()
		}
	}
	for _, name := range names {
		r, err := line.OpenPCSC(name, time.Duration(b.Config.Line.TransmitTimeout))
		if err != nil {
			stop()
			return nil, nil, err
		}
		open = append(open, r)
		s := line.Slot{Reader: r, Feeder: &feeder.Hand{Presence: r.Context(), Reader: name, Ask: ask}}
		if i, ok := virtual[name]; ok && socket != "" {
			s.Feeder = &feeder.Virtual{Control: socket, Slot: i, Presence: r.Context(), Reader: name}
		}
		slots = append(slots, s)
	}
	return slots, stop, nil
}

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
	if _, err := b.Store.OpenShift(ctx, actor); err != nil && !errors.Is(err, store.ErrWrongState) {
		return nil, nil, fmt.Errorf("open the shift: %w", err)
	}
	station, err := b.Store.OpenStation(ctx, b.Config.Station, actor)
	if err != nil {
		return nil, nil, err
	}
	l = &line.Line{
		Store: b.Store, Station: station, Vault: b.Vault, Profiles: b.Profiles, Trust: trust,
		Development: b.Config.Development(), Events: events,
	}
	return l, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return station.Close(ctx)
	}, nil
}
