package virtual

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
)

// newT0 is a chip that speaks T=0, and a host that sends it TPDUs as they are.
func newT0(t testing.TB, change func(*Blank)) (*host, *Chip) {
	t.Helper()
	blank := testBlank(testKeys(0x30, 16))
	blank.T0 = true
	if change != nil {
		change(&blank)
	}
	c, err := New(Config{Blank: &blank, Applets: testModules()})
	if err != nil {
		t.Fatal(err)
	}
	return &host{t: t, card: c, keys: blank.Keys, length: 8}, c
}

func TestT0ATR(t *testing.T) {
	_, c := newT0(t, nil)
	atr := c.ATR()
	// No interface bytes: T=0 alone, and so no check byte (ISO/IEC 7816-3 8.2.3, 8.2.5).
	if !bytes.Equal(atr, DefaultT0ATR) || atr[1] != byte(len(atr)-2) {
		t.Errorf("%X", atr)
	}
}

func TestTPDUs(t *testing.T) {
	h, _ := newT0(t, nil)
	// Case 2: the right Le alone, and the answer is kept for it.
	h.want(0x6C12, "00A4040000")
	fci := h.want(apdu.SWSuccess, "00A4040012")
	h.want(0x6C2D, "80CA9F7F00")
	h.want(0x6C2D, "80CA9F7F10")
	h.want(0x6C2D, "80CA9F7FFF")
	h.want(apdu.SWSuccess, "80CA9F7F2D")
	// Case 4: 61xx, then GET RESPONSE, in parts too.
	h.want(0x6112, "00A4040008A000000151000000")
	part := h.want(0x610E, "00C0000004")
	if got := append(part, h.want(apdu.SWSuccess, "00C000000E")...); !bytes.Equal(got, fci) {
		t.Errorf("%X, want %X", got, fci)
	}
	h.want(apdu.SWConditionsOfUseNotSatisfied, "00C0000010") // nothing is left
	h.want(0x6112, "00A4040008A000000151000000")
	h.want(0x6C12, "00C0000000") // more than there is
	h.want(0x6C12, "00C0000013")
	h.want(apdu.SWSuccess, "00C0000012")
	// Any other command takes the answer away.
	h.want(0x6112, "00A4040008A000000151000000")
	h.want(apdu.SWReferencedDataNotFound, "80CA123400")
	h.want(apdu.SWConditionsOfUseNotSatisfied, "00C0000012")
	// Case 1, and case 3, have status words alone.
	h.want(0x6107, "00A4040007A0000002471001")
	h.want(apdu.SWSuccess, "0040070000") // SET of the life cycle
	for command, sw := range map[string]apdu.StatusWord{
		"00A40400":                     apdu.SWWrongLength, // no P3
		"00A4040008A00000015100000000": apdu.SWWrongLength, // Le of case 4
		"00A4040008A0000001510000":     apdu.SWWrongLength,
		"00A40400000008A0000001510000": apdu.SWWrongLength, // extended
		"80CA9F7F000000":               apdu.SWWrongLength,
		"0060000001FF":                 apdu.SWInstructionNotSupported, // INS that would be a procedure byte
		"0090000000":                   apdu.SWInstructionNotSupported,
		"04C0000000":                   apdu.SWSecureMessagingNotSupported,
		"0CC0000000":                   apdu.SWSecureMessagingNotSupported,
		"80C0000000":                   apdu.SWClassNotSupported,
		"00C0010000":                   apdu.SWIncorrectP1P2,
	} {
		h.want(sw, command)
	}
}

// TestT0CommandRunsOnce: 6Cxx does not execute a command, its repetition
// included, more than once.
func TestT0CommandRunsOnce(t *testing.T) {
	h, c := newT0(t, nil)
	h.want(0x6101, "001000000199") // adds a byte, answers all
	h.want(apdu.SWSuccess, "00C0000001")
	h.want(0x6C01, "0010000000") // adds nothing
	h.want(apdu.SWSuccess, "0010000001")
	if v := c.mem.Space(appSpace + LDSAID).Get("value"); !bytes.Equal(v, []byte{0x99}) {
		t.Errorf("%X", v)
	}
	// Another header is another command.
	h.want(0x6C01, "0010000000")
	h.want(0x6C01, "0030000009")
	h.want(apdu.SWSuccess, "0030000001")
}

// TestT0LongAnswer: what does not fit 256 bytes comes in parts.
func TestT0LongAnswer(t *testing.T) {
	h, c := newT0(t, nil)
	c.mem.Space(appSpace+LDSAID).Set("value", bytes.Repeat([]byte{7}, 600))
	h.want(0x6C00, "0010000010")
	a := h.want(0x6100, "0010000000")
	b := h.want(0x6158, "00C0000000")
	if last := h.want(apdu.SWSuccess, "00C0000058"); len(a)+len(b)+len(last) != 600 {
		t.Errorf("%d, %d, %d bytes", len(a), len(b), len(last))
	}
	// A reset loses what waits.
	h.want(0x6112, "00A4040008A000000151000000")
	c.Reset()
	h.want(apdu.SWConditionsOfUseNotSatisfied, "00C0000012")
}

// TestT0ChannelOfGetResponse: the answer waits on the channel of its command.
func TestT0ChannelOfGetResponse(t *testing.T) {
	h, _ := newT0(t, nil)
	h.selectedISD()
	h.want(apdu.SWSuccess, "0070000001")
	h.want(0x6112, "01A4040008A000000151000000")
	h.want(apdu.SWConditionsOfUseNotSatisfied, "00C0000012")
	h.want(0x6112, "01A4040008A000000151000000")
	h.want(apdu.SWSuccess, "01C0000012")
	h.want(apdu.SWSuccess, "0070000700")
}

func (h *host) selectedISD() {
	h.t.Helper()
	h.want(0x6C12, "00A4040000")
	h.want(apdu.SWSuccess, "00A4040012")
}

// reader speaks T=0 below apdu.SendRaw, as cardio/pcsc does, and takes note.
type reader struct {
	chip *Chip
	log  [][]byte
}

func (r *reader) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	command, err := apdu.ForT0(command)
	if err != nil {
		return nil, err
	}
	r.log = append(r.log, bytes.Clone(command))
	return r.chip.Transmit(ctx, command)
}

// wholeExchange is a card that takes APDUs.
type wholeExchange struct{ *reader }

func (w wholeExchange) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	r, err := apdu.SendRaw(ctx, w.reader, command)
	return r.Bytes(), err
}

// TestSecureChannelsOverT0 runs SCP03 and SCP02 over T=0, by the rules of
// cardio/apdu.
func TestSecureChannelsOverT0(t *testing.T) {
	h, c := newT0(t, nil)
	r := &reader{chip: c}
	h.card = wholeExchange{r}
	h.open(0x33)
	h.must(apdu.SWSuccess, cmd(insGetStatus, 0xF0, 2, 0x4F, 0))
	h.must(apdu.SWSuccess, cmd(insGetData, 0, 0x66))
	h.must(apdu.SWSuccess, personalize())
	for _, command := range r.log {
		if command[1] == insGetResponse && command[0] != 0 {
			t.Errorf("GET RESPONSE of class %02X", command[0])
		}
	}

	h2, c := newHost02(t, 0x75, func(b *Blank) { b.T0 = true })
	h2.host.card = wholeExchange{&reader{chip: c}}
	h2.open(0x13)
	h2.must(apdu.SWSuccess, cmd(insGetStatus, 0xE0, 2, 0x4F, 0))
	h2.must(apdu.SWSuccess, cmd(insGetData, 0, 0x66))
	h2.must(apdu.SWSuccess, h2.putKeys(0, desKeys(0x21)))
}

// TestQuirkWarningFirst: the page of GET STATUS that 6310 says is not the last
// waits for GET RESPONSE.
func TestQuirkWarningFirst(t *testing.T) {
	h, c := newT0(t, func(b *Blank) {
		b.Quirks = []Quirk{QuirkWarningFirst}
		lds, file := mustHex(LDSAID), mustHex(LDSLoadFileAID)
		for i := range byte(8) {
			b.Applications = append(b.Applications, Installation{AID: append(bytes.Clone(lds), i), Module: lds, LoadFile: file})
		}
	})
	h.card = wholeExchange{&reader{chip: c}}
	h.open(0x01)
	h.card = c
	b := h.wrap(cmd(insGetStatus, 0x40, 2, 0x4F, 0))
	h.want(swMoreData, fmt.Sprintf("%X", b[:len(b)-1]))
	_, sw := h.hex("00C0000000")
	if sw.SW1() != 0x6C {
		t.Fatalf("%v", sw)
	}
	if data := h.want(apdu.SWSuccess, fmt.Sprintf("00C00000%02X", sw.SW2())); len(data) < 200 || data[0] != 0xE3 {
		t.Errorf("%X", data)
	}
}

func FuzzTPDU(f *testing.F) {
	for _, s := range []string{"00A4040000", "00A4040012", "00A4040008A000000151000000", "00C0000012", "80CA9F7F00", "0070000000", "8050000008000102030405060700"} {
		f.Add(unhex(f, s), unhex(f, "00C0000000"))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		_, c := newT0(t, nil)
		for _, command := range [][]byte{a, b, a} {
			out, err := c.Transmit(t.Context(), command)
			if err != nil || len(out) < 2 || len(out) > maxTPDUData+2 {
				t.Fatalf("%X: %X %v", command, out, err)
			}
		}
	})
}

// TestContactlessInterface: in a contactless reader's field the card answers as one
// of ISO/IEC 14443-4, whatever it speaks over its contacts, and forgets what was
// selected there.
func TestContactlessInterface(t *testing.T) {
	h, c := newT0(t, nil)
	// PC/SC part 3, 3.1.3.2.3.1: 3B 8D 80 01, thirteen historical bytes, check byte.
	atr := c.ResetContactless()
	check := byte(0)
	for _, b := range atr[1:] {
		check ^= b
	}
	if !bytes.Equal(atr[:4], []byte{0x3B, 0x8D, 0x80, 0x01}) || len(atr) != 18 || check != 0 || !bytes.Equal(atr, c.ATR()) || c.T0() {
		t.Errorf("%X", atr)
	}
	h.want(apdu.SWSuccess, "00A4040008A00000015100000000") // as an APDU, with its answer at once
	if atr := c.Reset(); !bytes.Equal(atr, DefaultT0ATR) || !c.T0() {
		t.Errorf("%X", atr)
	}
	h.want(0x6112, "00A4040008A000000151000000")
}
