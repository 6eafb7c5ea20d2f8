package gp_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
	"cardbureau/cardio/virtual"
)

// The software chip shares no code with this package: what passes between the
// two is the standard.

// sink is an applet that keeps what it is personalized with.
type sink struct{ stored *[]byte }

func (sink) Select(virtual.Env, apdu.Command) ([]byte, apdu.StatusWord) { return nil, apdu.SWSuccess }
func (sink) Deselect(virtual.Env)                                       {}
func (sink) Process(virtual.Env, apdu.Command) ([]byte, apdu.StatusWord) {
	return nil, apdu.SWInstructionNotSupported
}

func (s sink) StoreData(e virtual.Env, p1, _ byte, data []byte) ([]byte, apdu.StatusWord) {
	if p1&0x60 == 0x60 { // one enciphered grouping: 8001 10 and a block
		clear, err := e.DecipherDEK(data[3:])
		if err != nil {
			return nil, apdu.SWWrongData
		}
		data = append(append([]byte(nil), data[:3]...), clear...)
	}
	*s.stored = append(*s.stored, data...)
	return nil, apdu.SWSuccess
}

// key is a made-up key, its bytes counting from first.
func key(first byte, size int) []byte {
	out := make([]byte, size)
	for i := range out {
		out[i] = first + byte(i)
	}
	return out
}

type chip struct {
	*virtual.Chip
	stored []byte
}

func newChip(t testing.TB, size int) *chip {
	t.Helper()
	c := &chip{}
	blank := virtual.LDSBlank(virtual.NewSerial(7, 4711), virtual.Keys{
		Version: 0x30, ENC: key(0x00, size), MAC: key(0x40, size), DEK: key(0x80, size),
	})
	var err error
	c.Chip, err = virtual.New(virtual.Config{Blank: &blank, Applets: map[string]func() virtual.Applet{
		virtual.LDSAID: func() virtual.Applet { return sink{&c.stored} },
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// open selects the ISD and opens a session.
func (c *chip) open(t testing.TB, keys gp.StaticKeys, level gp.Level) (*gp.SCP03, error) {
	t.Helper()
	ctx := context.Background()
	data, err := apdu.Must(ctx, c, gp.SelectISDCommand())
	if err != nil {
		t.Fatal(err)
	}
	fci, err := gp.ParseFCI(data)
	if err != nil {
		t.Fatal(err)
	}
	recognition, err := gp.ReadCardRecognition(ctx, gp.Plain(c))
	if err != nil {
		t.Fatal(err)
	}
	challenge := make([]byte, gp.ModeOf(recognition.Channels[0].I))
	_, _ = rand.Read(challenge)
	if data, err = apdu.Must(ctx, c, gp.InitializeUpdateCommand(0, challenge)); err != nil {
		t.Fatal(err)
	}
	iu, err := gp.ParseInitializeUpdate(data)
	if err != nil {
		t.Fatal(err)
	}
	s, ea, err := gp.OpenSCP03(ctx, keys, iu, challenge, fci.AID, level)
	if err != nil {
		return nil, err
	}
	r, err := apdu.SendRaw(ctx, c, ea)
	if err != nil {
		t.Fatal(err)
	}
	if !r.SW.OK() {
		t.Fatalf("EXTERNAL AUTHENTICATE: %v", r.SW)
	}
	t.Cleanup(s.Close)
	return s, nil
}

func softwareKeys(t testing.TB, first byte, size int) *gp.SoftwareKeys {
	t.Helper()
	k, err := gp.NewSoftwareKeys(key(first, size), key(first+0x40, size), key(first+0x80, size))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var levels = []gp.Level{gp.LevelNone, gp.LevelCMAC, gp.LevelCENC, gp.LevelCMACRMAC, gp.LevelCENCRMAC, gp.LevelFull}

func TestChipAtEveryLevel(t *testing.T) {
	ctx := context.Background()
	for _, size := range []int{16, 24, 32} {
		for _, level := range levels {
			t.Run(fmt.Sprintf("AES-%d level %v", size*8, level), func(t *testing.T) {
				c := newChip(t, size)
				s, err := c.open(t, softwareKeys(t, 0, size), level)
				if err != nil {
					t.Fatal(err)
				}
				send := gp.Secure(s, c)
				cplc, err := gp.ReadCPLC(ctx, send)
				if err != nil {
					t.Fatal(err)
				}
				if want := virtual.NewSerial(7, 4711).String(); cplc.Serial() != want {
					t.Errorf("serial %s, want %s", cplc.Serial(), want)
				}
				keys, err := gp.ReadKeyInformation(ctx, send)
				if err != nil || !gp.HasKeyVersion(keys, 0x30) || keys[0].Components[0] != (gp.KeyType{Type: gp.KeyTypeAES, Length: size}) {
					t.Errorf("%+v, %v", keys, err)
				}
				recognition, err := gp.ReadCardRecognition(ctx, send)
				if err != nil || len(recognition.Channels) == 0 || recognition.Channels[0] != (gp.ChannelOption{SCP: 3, I: 0x70}) {
					t.Errorf("%+v, %v", recognition, err)
				}
				isd, err := gp.GetStatus(ctx, send, gp.ListISD)
				if err != nil || len(isd) != 1 || !bytes.Equal(isd[0].AID, gp.ISDAID) || isd[0].LifeCycle != gp.CardOpReady {
					t.Errorf("%+v, %v", isd, err)
				}
				apps, err := gp.GetStatus(ctx, send, gp.ListApplications)
				if err != nil || len(apps) != 1 || apps[0].LifeCycle != gp.ApplicationSelectable {
					t.Errorf("%+v, %v", apps, err)
				}
				for _, state := range []byte{gp.CardInitialized, gp.CardSecured} {
					if r, err := send(ctx, gp.SetCardStatusCommand(state)); err != nil || !r.SW.OK() {
						t.Errorf("to state %02X: %v, %v", state, r.SW, err)
					}
				}
				if r, err := send(ctx, gp.SetCardStatusCommand(gp.CardInitialized)); err != nil || r.SW.OK() {
					t.Errorf("back to INITIALIZED: %v, %v", r.SW, err)
				}
			})
		}
	}
}

// TestChipPersonalized loads data and secrets in one batch and then finds the
// stream as it was.
func TestChipPersonalized(t *testing.T) {
	ctx := context.Background()
	for _, level := range levels {
		c := newChip(t, 16)
		s, err := c.open(t, softwareKeys(t, 0, 16), level)
		if err != nil {
			t.Fatal(err)
		}
		apps, err := gp.GetStatus(ctx, gp.Secure(s, c), gp.ListApplications)
		if err != nil {
			t.Fatal(err)
		}
		dgis := []gp.DGI{{ID: 0x0101, Value: key(0, 93)}, {ID: 0x0102, Value: make([]byte, 15000)}}
		plain, err := gp.StoreData(dgis, gp.StoreDataOptions{MaxData: gp.MaxPlainData(gp.S8, level, false)})
		if err != nil {
			t.Fatal(err)
		}
		secret := []byte("0123456789abcdef")
		enciphered, err := s.EncipherDEK(ctx, secret)
		if err != nil {
			t.Fatal(err)
		}
		secrets, err := gp.StoreData([]gp.DGI{{ID: 0x8001, Value: enciphered}}, gp.StoreDataOptions{Enciphered: true, MaxData: 100})
		if err != nil {
			t.Fatal(err)
		}
		install := gp.InstallForPersonalizationCommand(apps[0].AID)
		batch := append([]apdu.Command{install}, plain...)
		batch = append(append(batch, install), secrets...)
		wrapped, err := s.Wrap(ctx, batch)
		if err != nil {
			t.Fatal(err)
		}
		items := make([]apdu.Item, len(wrapped))
		for i, w := range wrapped {
			items[i].Command = w
		}
		answers, err := apdu.Exchange(ctx, c, items)
		if err != nil {
			t.Fatalf("level %v: %v", level, err)
		}
		raw := make([][]byte, len(answers))
		for i, a := range answers {
			raw[i] = a.Bytes()
		}
		if _, err := s.Unwrap(ctx, raw); err != nil {
			t.Fatalf("level %v: %v", level, err)
		}
		var want []byte
		for _, d := range append(dgis, gp.DGI{ID: 0x8001, Value: secret}) {
			want = gp.AppendDGI(want, d)
		}
		if !bytes.Equal(c.stored, want) {
			t.Errorf("level %v: %d bytes arrived, %d were sent", level, len(c.stored), len(want))
		}
	}
}

// TestChipTakesNewKeys: the card's keys are replaced, and only the new ones
// open it.
func TestChipTakesNewKeys(t *testing.T) {
	ctx := context.Background()
	for _, size := range []int{16, 24, 32} {
		c := newChip(t, 16)
		old := softwareKeys(t, 0, 16)
		s, err := c.open(t, old, gp.LevelFull)
		if err != nil {
			t.Fatal(err)
		}
		var components []gp.KeyComponent
		for _, first := range []byte{0x05, 0x45, 0x85} {
			k, err := gp.NewKeyComponent(ctx, old.DEK(), key(first, size))
			if err != nil {
				t.Fatal(err)
			}
			components = append(components, k)
		}
		r, err := gp.Secure(s, c)(ctx, gp.ReplaceKeyCommand(0x30, 0x31, 1, components))
		if err != nil || !r.SW.OK() {
			t.Fatalf("PUT KEY: %v, %v", r.SW, err)
		}
		if err := gp.CheckPutKeyResponse(r.Data, 0x31, components); err != nil {
			t.Error(err)
		}
		_, err = c.open(t, softwareKeys(t, 0, 16), gp.LevelFull)
		wantError(t, err, gp.ErrCardCryptogram)
		if _, err := c.open(t, softwareKeys(t, 0x05, size), gp.LevelFull); err != nil {
			t.Errorf("AES-%d: the new keys do not open the card: %v", size*8, err)
		}
		components[0].KCV[0] ^= 1
		s, err = c.open(t, softwareKeys(t, 0x05, size), gp.LevelFull)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := gp.Secure(s, c)(ctx, gp.PutKeyCommand(0x32, 1, components)); err != nil || r.SW.OK() {
			t.Errorf("a key with a wrong check value was taken: %v, %v", r.SW, err)
		}
	}
}

// TestChipOfAnotherApplication: the challenge is bound to the application that
// was asked.
func TestChipOfAnotherApplication(t *testing.T) {
	ctx := context.Background()
	c := newChip(t, 16)
	if _, err := apdu.Must(ctx, c, gp.SelectISDCommand()); err != nil {
		t.Fatal(err)
	}
	challenge := key(1, 8)
	data, err := apdu.Must(ctx, c, gp.InitializeUpdateCommand(0x30, challenge))
	if err != nil {
		t.Fatal(err)
	}
	iu, err := gp.ParseInitializeUpdate(data)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = gp.OpenSCP03(ctx, softwareKeys(t, 0, 16), iu, challenge, []byte{0xA0, 0, 0, 0, 1}, gp.LevelFull)
	wantError(t, err, gp.ErrCardChallenge)
}

// BenchmarkCard wraps and unwraps the 120 commands of one card at level 33.
func BenchmarkCard(b *testing.B) {
	ctx := context.Background()
	c := newChip(b, 16)
	s, err := c.open(b, softwareKeys(b, 0, 16), gp.LevelFull)
	if err != nil {
		b.Fatal(err)
	}
	commands := make([]apdu.Command, 120)
	for i := range commands {
		commands[i] = apdu.Command{CLA: 0x80, INS: 0xE2, P2: byte(i), Data: make([]byte, 239)}
	}
	answers := make([][]byte, len(commands))
	for i := range answers {
		answers[i] = []byte{0x69, 0x85}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Wrap(ctx, commands); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Unwrap(ctx, answers); err != nil {
			b.Fatal(err)
		}
	}
}
