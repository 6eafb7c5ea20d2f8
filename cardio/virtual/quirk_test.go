package virtual

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/nvm"
)

// quirky is a host and a card of SCP03 with a quirk.
func quirky(t *testing.T, q Quirk, change func(*Blank)) (*host, *Chip) {
	t.Helper()
	blank := testBlank(testKeys(0x30, 16))
	blank.Quirks = []Quirk{q}
	if change != nil {
		change(&blank)
	}
	mem := nvm.InMemory()
	if err := Manufacture(mem, blank); err != nil {
		t.Fatal(err)
	}
	c := on(t, mem, nil) // the quirk is in the memory
	return &host{t: t, card: c, keys: blank.Keys, length: 8}, c
}

func TestQuirkCountDataOnly(t *testing.T) {
	h, _ := quirky(t, QuirkCountDataOnly, nil)
	h.open(0x33)
	h.must(apdu.SWSuccess, cmd(insGetStatus, 0x80, 2, 0x4F, 0))
	// A host of the standard is one ahead after a command without data.
	b := h.wrap(cmd(insGetData, 0, 0x66))
	h.s.counter--
	data, sw := h.raw(b)
	if h.unwrap(data, sw); !sw.OK() {
		t.Fatalf("%v", sw)
	}
	h.must(apdu.SWSuccess, cmd(insGetStatus, 0x80, 2, 0x4F, 0))
	h.raw(h.wrap(cmd(insGetData, 0, 0x66)))
	if _, sw := h.raw(h.wrap(cmd(insGetStatus, 0x80, 2, 0x4F, 0))); sw.OK() {
		t.Error("the counter advanced at a command without data")
	}
}

func TestQuirkUntaggedStatus(t *testing.T) {
	h, _ := quirky(t, QuirkUntaggedStatus, nil)
	h.open(0x01)
	h.must(apdu.SWIncorrectP1P2, cmd(insGetStatus, 0x80, 2, 0x4F, 0))
	h.must(apdu.SWIncorrectP1P2, cmd(insGetStatus, 0x10, 0, 0x4F, 0))
	if got := h.must(apdu.SWSuccess, cmd(insGetStatus, 0x80, 0, 0x4F, 0)); !bytes.Equal(got, unhex(t, "08a000000151000000"+"01"+"98")) {
		t.Errorf("ISD %X", got)
	}
	if got := h.must(apdu.SWSuccess, cmd(insGetStatus, 0x60, 0, 0x4F, 0)); !bytes.Equal(got, unhex(t, "07a0000002471001"+"0704"+"06a00000024710"+"0100"+"07a0000001515350"+"0100")) {
		t.Errorf("applications and load files %X", got)
	}
}

func TestQuirkNoCPLC(t *testing.T) {
	h, _ := quirky(t, QuirkNoCPLC, nil)
	h.selectISD()
	h.want(apdu.SWReferencedDataNotFound, "80CA9F7F00")
	h.want(apdu.SWSuccess, "80CA004500")
}

func TestGetStatusOfSeveralScopes(t *testing.T) {
	h, _ := newHost(t, 16)
	h.open(0x33)
	of := func(p1 byte) []byte { return h.must(apdu.SWSuccess, cmd(insGetStatus, p1, 2, 0x4F, 0)) }
	isd, apps, files, modules := of(0x80), of(0x40), of(0x20), of(0x10)
	for p1, want := range map[byte][][]byte{
		0xE0: {isd, apps, files}, 0xC0: {isd, apps}, 0xA0: {isd, files}, 0x60: {apps, files},
		0xF0: {isd, apps, modules}, 0x30: {modules}, 0x90: {isd, modules},
	} {
		if got := of(p1); !bytes.Equal(got, bytes.Join(want, nil)) {
			t.Errorf("P1 %02X: %X", p1, got)
		}
	}
	for _, p1 := range []byte{0x00, 0x08, 0x81} {
		h.must(apdu.SWIncorrectP1P2, cmd(insGetStatus, p1, 2, 0x4F, 0))
	}
	// A beginning of an AID finds what begins so, in every scope.
	first := files[:2+int(files[1])] // that of security domains comes after it
	if got := h.must(apdu.SWSuccess, cmd(insGetStatus, 0xE0, 2, 0x4F, 5, 0xA0, 0, 0, 2, 0x47)); !bytes.Equal(got, append(apps, first...)) {
		t.Errorf("%X", got)
	}
}

// TestTiming has a clock that does not run.
func TestTiming(t *testing.T) {
	blank := testBlank(testKeys(0x30, 16))
	blank.Timing = Timing{PerCommand: 3 * time.Millisecond, PerByte: time.Microsecond}
	var slept time.Duration
	late := errors.New("late")
	var fail error
	c, err := New(Config{Blank: &blank, Applets: testModules(), Sleep: func(_ context.Context, d time.Duration) error {
		slept += d
		return fail
	}})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, card: c}
	h.want(apdu.SWSuccess, "0030000000") // 5 bytes there, 3 back
	if want := 3*time.Millisecond + 8*time.Microsecond; slept != want {
		t.Errorf("%v, want %v", slept, want)
	}
	fail = late
	if _, err := c.Transmit(t.Context(), []byte{0, 0x30, 0, 0}); !errors.Is(err, late) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := wait(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := wait(t.Context(), time.Nanosecond); err != nil {
		t.Errorf("%v", err)
	}
}
