package uicc_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"cardbureau/cardio/uicc"
	"cardbureau/cardio/virtual/usim"
)

// TestPIN1Reference: PIN1 and PIN2 are given under the references that the card's PIN
// status template names, with or without an FCP in the answer to SELECT.
func TestPIN1Reference(t *testing.T) {
	ctx := t.Context()
	for _, v := range []usim.Variant{{}, {PIN1: 0x02}, {PIN1: 0x08}, {PIN1: 0x03, Select: []byte{0x0C}}, {PIN1: 0x02, Select: []byte{0x00}}} {
		t.Run(fmt.Sprintf("%02X %X", v.PIN1, v.Select), func(t *testing.T) {
			p := operators(t)
			p.Variant = v
			c, r := opened(t, p)
			if n, err := c.Tries(ctx, uicc.PIN1); err != nil || n != 3 {
				t.Errorf("%d tries, %v", n, err)
			}
			if n, err := c.UnblockTries(ctx, uicc.PIN2); err != nil || n != 10 {
				t.Errorf("%d tries of PIN2's unblock key, %v", n, err)
			}
			if _, err := c.IMSI(ctx); err == nil {
				t.Error("the IMSI was read without PIN1")
			}
			var wrong *uicc.PINError
			if err := c.VerifyPIN(ctx, uicc.PIN1, []byte("9999"), false); !errors.As(err, &wrong) || wrong.Left != 2 {
				t.Error(err)
			}
			must(t, c.VerifyPIN(ctx, uicc.PIN1, []byte("0000"), false))
			if s, err := c.IMSI(ctx); err != nil || s != p.IMSI {
				t.Errorf("IMSI %s, %v", s, err)
			}
			must(t, c.ChangePIN(ctx, uicc.PIN1, []byte("0000"), []byte("2468"), false))
			must(t, c.DisablePIN(ctx, []byte("2468"), false))
			if _, err := c.Tries(ctx, uicc.PIN1); !errors.Is(err, uicc.ErrPINDisabled) {
				t.Error(err)
			}
			for _, sent := range r.sent {
				if ref := max(v.PIN1, 1); strings.HasPrefix(sent, "002000") && sent[6:8] != fmt.Sprintf("%02X", ref) {
					t.Errorf("VERIFY under another reference: %s", sent[:8])
				}
			}
		})
	}
}

// TestSelectWithoutFCP: a card that returns no FCP is read all the same, and the P2 that
// it takes is found out once. What must know sizes is refused.
func TestSelectWithoutFCP(t *testing.T) {
	ctx := t.Context()
	for _, p2 := range []byte{0x0C, 0x00} {
		t.Run(fmt.Sprintf("%02X", p2), func(t *testing.T) {
			p := operators(t)
			p.PIN1Disabled, p.Variant.Select = true, []byte{p2}
			c, r := opened(t, p)
			if c.Application() != uicc.USIM {
				t.Errorf("opened as %v", c.Application())
			}
			if s, err := c.ICCID(ctx); err != nil || s != p.ICCID {
				t.Errorf("ICCID %s, %v", s, err)
			}
			if s, err := c.IMSI(ctx); err != nil || s != p.IMSI {
				t.Errorf("IMSI %s, %v", s, err)
			}
			if s, err := c.MSISDN(ctx); err != nil || s != p.MSISDN {
				t.Errorf("number %s, %v", s, err)
			}
			if list, err := c.Directory(ctx); err != nil || len(list) != 2 {
				t.Errorf("%d applications, %v", len(list), err)
			}
			if _, err := c.Select(ctx, "3F00/2FE3"); err == nil {
				t.Error("a file that is not there")
			}
			if _, err := c.ReadRecord(ctx, uicc.PathMSISDN, 9); !errors.Is(err, uicc.ErrNotFound) {
				t.Error(err)
			}
			if err := c.WriteRecord(ctx, uicc.PathMSISDN, 1, []byte{1}); !errors.Is(err, uicc.ErrMalformed) {
				t.Error(err)
			}
			tried := 0
			for _, sent := range r.sent {
				if strings.HasPrefix(sent, "00A4") && sent[6:8] == "04" {
					tried++
				}
			}
			if tried != 1 {
				t.Errorf("the FCP was asked for %d times", tried)
			}
		})
	}
}
