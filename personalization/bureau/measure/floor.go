package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/google/uuid"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/cardio/virtual/vpcd"
	"cardbureau/personalization/image"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// readBlock is what READ BINARY under AES secure messaging carries in a short
// answer; a chip that takes extended length gives more.
const readBlock = 223

// least is how many APDUs and bytes the content of one card needs at least,
// once in and once out.
func (r *run) least(ctx context.Context, serial string) (apdus, octets float64, err error) {
	card, err := r.b.Store.CardBySerial(ctx, serial, "bench", r.actor)
	if err != nil {
		return 0, 0, err
	}
	im, err := image.Open(ctx, r.b.Vault, card.PersonID, vault.DataKey(card.Key), card.Image)
	if err != nil {
		return 0, 0, err
	}
	chip := r.b.Profiles.Chips[card.Chip]
	write := gp.MaxPlainData(gp.ModeOf(chip.GlobalPlatform.I[0]), gp.Level(chip.GlobalPlatform.Level[0]), chip.Limits.CommandData > apdu.MaxShortData)
	read := max(readBlock, chip.Limits.ResponseData)
	sum := 0
	for _, f := range im.Files {
		sum += len(f)
		apdus += float64((len(f) + read - 1) / read)
	}
	apdus += float64((sum + write - 1) / write)
	return apdus, 2 * float64(sum), nil
}

// floorTime is how long each floor is measured.
const floorTime = 300 * time.Millisecond

// rate is how often fn runs in a second.
func rate(fn func() error) (float64, error) {
	start := time.Now()
	n := 0
	for time.Since(start) < floorTime {
		for range 50 {
			if err := fn(); err != nil {
				return 0, err
			}
		}
		n += 50
	}
	return float64(n) / time.Since(start).Seconds(), nil
}

func (r *run) floors(ctx context.Context, chip *virtual.Chip) (f Floors, err error) {
	sel, err := gp.SelectISDCommand().Bytes()
	if err != nil {
		return f, err
	}
	exchange := func(c apdu.Card) func() error {
		return func() error { _, err := c.Transmit(ctx, sel); return err }
	}
	chip.PowerOn()
	if f.InProcessAPDUs, err = rate(exchange(chip)); err != nil {
		return f, fmt.Errorf("in-process floor: %w", err)
	}
	sql, err := rate(func() error {
		// An order that does not exist: one round trip, one index look-up.
		if _, err := r.b.Store.Order(ctx, uuid.Nil); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return nil
	})
	if err != nil {
		return f, fmt.Errorf("database floor: %w", err)
	}
	f.SQLMicros = 1e6 / sql
	agent, err := rate(func() error { _, err := r.b.Vault.PersonRef(ctx, "12345678"); return err })
	if err != nil {
		return f, fmt.Errorf("agent floor: %w", err)
	}
	f.AgentMicros = 1e6 / agent
	if f.PCSCAPDUs, err = pcscRate(ctx, chip, exchange); err != nil {
		f.PCSCNote, err = err.Error(), nil
	}
	return f, err
}

// keysOfEach is how many keys of a length are made to tell what one costs: how often
// primes are drawn differs from key to key by a half.
const keysOfEach = 16

// keyCosts makes RSA keys of the pool's common length, of the longest that a card's
// records hold, and of the longest that EMV knows, which they do not hold (EMV Book 2,
// annex D).
func (r *run) keyCosts(ctx context.Context) (out []KeyCost, err error) {
	for _, bits := range []int{1408, 1976, 1984} {
		before, err := r.b.Vault.Stats(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := r.b.Vault.NewICCKeys(ctx, bits, 65537, keysOfEach); err != nil {
			return nil, fmt.Errorf("an RSA key of %d bits: %w", bits, err)
		}
		after, err := r.b.Vault.Stats(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, KeyCost{Bits: bits, CPU: float64(after.CPU-before.CPU) / 1e6 / keysOfEach})
	}
	return out, nil
}

// pcscRate is the rate of exchanges through a real pcscd.
func pcscRate(ctx context.Context, chip *virtual.Chip, exchange func(apdu.Card) func() error) (float64, error) {
	dir, err := os.MkdirTemp("", "cb-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	d, err := pcscd.Start(ctx, pcscd.Options{Readers: 1, Dir: dir})
	if err != nil {
		return 0, err
	}
	defer d.Stop()
	slot := d.Slots()[0]
	conn, err := vpcd.Dial(ctx, fmt.Sprintf("127.0.0.1:%d", slot.Port))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	go conn.Serve(ctx, chip)
	if err := pcsc.UseSocket(d.Socket()); err != nil {
		return 0, err
	}
	pc, err := pcsc.Open()
	if err != nil {
		return 0, err
	}
	defer pc.Close()
	if _, err := pc.WaitCard(ctx, slot.Reader); err != nil {
		return 0, err
	}
	card, err := pc.Connect(ctx, slot.Reader)
	if err != nil {
		return 0, err
	}
	defer card.Close(pcsc.Unpower)
	runtime.GC()
	return rate(exchange(card))
}
