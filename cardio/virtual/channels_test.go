package virtual

import (
	"bytes"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
)

func TestChannelOfAClass(t *testing.T) {
	for cla, want := range map[byte][2]byte{
		0x00: {0, 0x00}, 0x03: {3, 0x00}, 0x0D: {1, 0x0C}, 0x12: {2, 0x10},
		0x40: {4, 0x00}, 0x4F: {19, 0x00}, 0x65: {9, 0x08}, 0x51: {5, 0x10},
		0x80: {0, 0x80}, 0x83: {3, 0x80}, 0x87: {3, 0x84}, 0x88: {0, 0x88},
		0xC0: {4, 0x80}, 0xCF: {19, 0x80}, 0xE1: {5, 0x84}, 0xD0: {0, 0xD0}, 0xF0: {0, 0xF0},
	} {
		if n, basic := channel(cla); n != int(want[0]) || basic != want[1] {
			t.Errorf("%02X: channel %d, %02X", cla, n, basic)
		}
	}
}

// onChannel is a card seen through one logical channel: what it is given for
// the basic channel goes out in that channel's coding.
func onChannel(command []byte, n int) []byte {
	out := bytes.Clone(command)
	switch sm := out[0]&0x04 != 0; {
	case n < 4:
		out[0] |= byte(n)
	case out[0]&0x80 == 0:
		out[0] = 0x40 | byte(n-4)
	case sm:
		out[0] = 0xE0 | byte(n-4)
	default:
		out[0] = 0xC0 | byte(n-4)
	}
	return out
}

func TestManageChannel(t *testing.T) {
	h, c := newHost(t, 16)
	h.want(apdu.SWLogicalChannelNotSupported, "0130000000")
	for i := 1; i <= 4; i++ {
		if got := h.want(apdu.SWSuccess, "0070000001"); !bytes.Equal(got, []byte{byte(i)}) {
			t.Fatalf("channel %X", got)
		}
	}
	h.want(apdu.SWFunctionNotSupported, "0070000001") // no more
	h.want(apdu.SWSuccess, "00708003")
	h.want(swAlreadyClosed, "00708003")
	h.want(apdu.SWFunctionNotSupported, "00700002") // is open
	h.want(apdu.SWSuccess, "00700013")              // channel 19 by its number
	h.want(apdu.SWSuccess, "4FA4040000")
	h.want(apdu.SWIncorrectP1P2, "00700014")
	h.want(apdu.SWIncorrectP1P2, "00708000") // the basic channel stays
	h.want(apdu.SWIncorrectP1P2, "00704000")
	h.want(apdu.SWWrongLength, "00700000020102")
	h.want(apdu.SWSuccess, "01708001") // a channel closes itself
	h.want(apdu.SWLogicalChannelNotSupported, "01A4040000")
	// An application is selected once.
	h.want(apdu.SWConditionsOfUseNotSatisfied, "02A4040007A000000247100100")
	h.selectISD()
	h.want(apdu.SWSuccess, "02A4040007A000000247100100")
	h.want(apdu.SWSuccess, "0230000000")
	h.want(apdu.SWConditionsOfUseNotSatisfied, "0270000001") // nor twice by a new channel
	h.want(apdu.SWConditionsOfUseNotSatisfied, "00A4040007A000000247100100")
	h.want(apdu.SWSuccess, "00708002")
	h.want(apdu.SWSuccess, "00A4040007A000000247100100")
	c.Reset()
	h.want(apdu.SWLogicalChannelNotSupported, "4FA4040000")
}

// TestSecureChannelOnEveryLogicalChannel: the session is the channel's own.
func TestSecureChannelOnEveryLogicalChannel(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 9, 19} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			basic, c := newHost(t, 16)
			basic.open(0x33)
			basic.must(apdu.SWSuccess, personalize())
			open, _ := apdu.Command{CLA: 0x00, INS: 0x70, P2: byte(n)}.Bytes()
			if _, sw := basic.raw(open); !sw.OK() {
				t.Fatalf("MANAGE CHANNEL: %v", sw)
			}
			other := &host{t: t, card: cardFunc(func(b []byte) []byte {
				return transmit(t, c, onChannel(b, n))
			}), keys: basic.keys, length: 8}
			other.want(apdu.SWSecurityStatusNotSatisfied, "80F28002024F0000")
			other.open(0x33)
			other.must(apdu.SWSuccess, cmd(insGetStatus, 0x80, 2, 0x4F, 0))
			// The first session goes on, its personalization too.
			basic.must(apdu.SWSuccess, cmd(insStoreData, 0x80, 0, []byte("basic")...))
			// What one channel protected is no command on the other.
			if _, sw := basic.raw(other.wrap(cmd(insGetStatus, 0x80, 2, 0x4F, 0))); sw.OK() {
				t.Error("a command of another channel's session is executed")
			}
			other.open(0x33)
			other.must(apdu.SWSuccess, cmd(insSetStatus, 0x80, byte(Initialized)))
			other.must(apdu.SWSuccess, cmd(insSetStatus, 0x80, byte(Secured)))
			other.must(apdu.SWSuccess, cmd(insSetStatus, 0x80, byte(CardLocked)))
			basic.want(apdu.SWFunctionNotSupported, "0070000001")
		})
	}
}

// TestLockingReachesOtherChannels: an application that another channel has
// selected is out of reach once the card is locked.
func TestLockingReachesOtherChannels(t *testing.T) {
	h, _ := newHost(t, 16)
	h.selectISD()
	h.want(apdu.SWSuccess, "0070000001")
	h.want(apdu.SWSuccess, "01A4040007A000000247100100")
	h.open(0x01)
	aid := mustHex(LDSAID)
	h.must(apdu.SWConditionsOfUseNotSatisfied, cmd(insDelete, 0, 0, append([]byte{0x4F, byte(len(aid))}, aid...)...))
	for _, s := range []CardState{Initialized, Secured, CardLocked} {
		h.must(apdu.SWSuccess, cmd(insSetStatus, 0x80, byte(s)))
	}
	h.want(apdu.SWInstructionNotSupported, "0130000000")
	h.want(apdu.SWSuccess, "81CA006600")
}

// TestSCP02OneCounterOneSession: two channels that began with the same counter
// do not both get a session of the same keys.
func TestSCP02OneCounterOneSession(t *testing.T) {
	h, c := newHost02(t, 0x55, nil)
	h.selectISD()
	h.want(apdu.SWSuccess, "0070000001")
	other := *h
	other.host = &host{t: t, card: cardFunc(func(b []byte) []byte { return transmit(t, c, onChannel(b, 1)) })}
	h.initUpdate(0)
	other.initUpdate(0)
	if _, sw := other.raw(other.authentication(0x01)); !sw.OK() {
		t.Fatalf("%v", sw)
	}
	if _, sw := h.raw(h.authentication(0x01)); sw != apdu.SWConditionsOfUseNotSatisfied {
		t.Fatalf("%v", sw)
	}
	other.must(apdu.SWSuccess, cmd(insGetStatus, 0x80, 2, 0x4F, 0))
}
