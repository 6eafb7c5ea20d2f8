package mrtd

import (
	"bytes"
	"errors"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/icao"
)

// TestPersonalizationRefused has one case for each refusal of a data grouping.
func TestPersonalizationRefused(t *testing.T) {
	c := newChip(t)
	order := icao.P256Order
	for name, x := range map[string]struct {
		g          grouping
		enciphered bool
		want       apdu.StatusWord
	}{
		"unknown":                 {grouping{0x0203, []byte{1}}, false, apdu.SWReferencedDataNotFound},
		"DG17":                    {grouping{0x0111, []byte{1}}, false, apdu.SWReferencedDataNotFound},
		"unknown secret":          {grouping{0x8009, []byte{1}}, true, apdu.SWReferencedDataNotFound},
		"empty file":              {grouping{dgi(fidDG1), nil}, false, apdu.SWWrongData},
		"empty file enciphered":   {grouping{dgi(fidDG1), nil}, true, apdu.SWWrongData},
		"too long a file":         {grouping{dgi(fidDG2), make([]byte, maxFile+1)}, false, apdu.SWWrongData},
		"the longest file":        {grouping{dgi(fidDG2), make([]byte, maxFile)}, false, apdu.SWSuccess},
		"too long, enciphered":    {grouping{dgi(fidDG2), make([]byte, maxFile+1)}, true, apdu.SWWrongData},
		"the longest, enciphered": {grouping{dgi(fidDG2), make([]byte, maxFile)}, true, apdu.SWSuccess},
		"secret in clear":         {grouping{dgiPACECAN, []byte("123456")}, false, apdu.SWSecurityStatusNotSatisfied},
		"BAC keys short":          {grouping{dgiBACKeys, make([]byte, 31)}, true, apdu.SWWrongData},
		"BAC keys long":           {grouping{dgiBACKeys, make([]byte, 33)}, true, apdu.SWWrongData},
		"secret far too long":     {grouping{dgiBACKeys, make([]byte, 64)}, true, apdu.SWWrongData},
		"MRZ password short":      {grouping{dgiPACEMRZ, make([]byte, 16)}, true, apdu.SWWrongData},
		"CAN of five digits":      {grouping{dgiPACECAN, []byte("12345")}, true, apdu.SWWrongData},
		"CAN with a letter":       {grouping{dgiPACECAN, []byte("12345A")}, true, apdu.SWWrongData},
		"chip key zero":           {grouping{dgiChipKey, make([]byte, 32)}, true, apdu.SWWrongData},
		"chip key of the order":   {grouping{dgiChipKey, order}, true, apdu.SWWrongData},
		"chip key short":          {grouping{dgiChipKey, order[:31]}, true, apdu.SWWrongData},
		"PIN without tries":       {grouping{dgiPIN, []byte("\x00123456")}, true, apdu.SWWrongData},
		"PIN with 16 tries":       {grouping{dgiPIN, []byte("\x10123456")}, true, apdu.SWWrongData},
		"PIN of five digits":      {grouping{dgiPIN, []byte("\x0312345")}, true, apdu.SWWrongData},
		"PIN of nine digits":      {grouping{dgiPIN, []byte("\x03123456789")}, true, apdu.SWWrongData},
		"PIN empty":               {grouping{dgiPIN, nil}, true, apdu.SWWrongData},
		"unblocking key of 7":     {grouping{dgiPUK, []byte("\x031234567")}, true, apdu.SWWrongData},
		"completion with a value": {grouping{dgiComplete, []byte{1}}, false, apdu.SWWrongData},
		"completion of a blank":   {grouping{dgiComplete, nil}, false, apdu.SWConditionsOfUseNotSatisfied},
		"good CAN":                {grouping{dgiPACECAN, []byte("123456")}, true, apdu.SWSuccess},
	} {
		if sw := c.sequence(200, x.enciphered, x.g); sw != x.want {
			t.Errorf("%s: %v, want %v", name, sw, x.want)
		}
	}
	good := grouping{dgiPACECAN, c.encipher(icao.Pad([]byte("123456"), 16))}.bytes()
	bad := grouping{dgiPACECAN, c.encipher(make([]byte, 16))}.bytes()
	odd := grouping{dgiPACECAN, make([]byte, 15)}.bytes()
	over := grouping{dgiPACECAN, c.encipher(append(icao.Pad([]byte("123456"), 16), make([]byte, 16)...))}.bytes()
	dg1 := grouping{dgi(fidDG1), []byte{1, 2, 3}}.bytes()
	for name, x := range map[string]struct {
		blocks []func() apdu.StatusWord
		want   apdu.StatusWord
	}{
		"no padding":                   {blocks(c, 0xE8, 0, bad), apdu.SWWrongData},
		"no whole block":               {blocks(c, 0xE8, 0, odd), apdu.SWWrongData},
		"a block of padding too much":  {blocks(c, 0xE8, 0, over), apdu.SWWrongData},
		"not in DGI format":            {blocks(c, 0x80, 0, dg1), apdu.SWIncorrectP1P2},
		"BER-TLV format":               {blocks(c, 0x90, 0, dg1), apdu.SWIncorrectP1P2},
		"application dependent cipher": {blocks(c, 0xA8, 0, good), apdu.SWIncorrectP1P2},
		"reserved bits":                {blocks(c, 0x8A, 0, dg1), apdu.SWIncorrectP1P2},
		"not begun":                    {blocks(c, 0x88, 1, dg1), apdu.SWConditionsOfUseNotSatisfied},
		"last but not whole":           {blocks(c, 0x88, 0, dg1[:4]), apdu.SWWrongData},
		"last but only a header":       {blocks(c, 0x88, 0, dg1[:2]), apdu.SWWrongData},
		"long length cut":              {blocks(c, 0x88, 0, []byte{1, 1, 0xFF, 0}), apdu.SWWrongData},
		"cipher changed in between":    {append(blocks(c, 0x08, 0, dg1), blocks(c, 0xE8, 1, good)...), apdu.SWIncorrectP1P2},
		"after a refusal": {append(append(blocks(c, 0x08, 0, dg1), ignore(blocks(c, 0x08, 1, []byte{2, 3, 1, 0}))...),
			blocks(c, 0x88, 2, dg1)...), apdu.SWConditionsOfUseNotSatisfied},
		"after the last":                {append(blocks(c, 0x88, 0, dg1), blocks(c, 0x88, 1, dg1)...), apdu.SWConditionsOfUseNotSatisfied},
		"completion after others":       {blocks(c, 0x88, 0, append(bytes.Clone(dg1), 0x7F, 0xFF, 0)), apdu.SWConditionsOfUseNotSatisfied},
		"completion before others":      {blocks(c, 0x88, 0, append([]byte{0x7F, 0xFF, 0}, dg1...)), apdu.SWConditionsOfUseNotSatisfied},
		"completion not the last block": {blocks(c, 0x08, 0, []byte{0x7F, 0xFF, 0}), apdu.SWConditionsOfUseNotSatisfied},
		"two whole ones":                {blocks(c, 0x88, 0, append(bytes.Clone(dg1), dg1...)), apdu.SWSuccess},
		"an empty sequence":             {blocks(c, 0x88, 0, nil), apdu.SWSuccess},
	} {
		sw := apdu.SWSuccess
		for _, b := range x.blocks {
			if sw = b(); !sw.OK() {
				break
			}
		}
		if sw != x.want {
			t.Errorf("%s: %v, want %v", name, sw, x.want)
		}
	}
	if c.lifeCycle != LifeCyclePersonalizing {
		t.Error("the application has become complete")
	}
}

func blocks(c *chip, p1, p2 byte, data []byte) []func() apdu.StatusWord {
	return []func() apdu.StatusWord{func() apdu.StatusWord { return c.store(p1, p2, data) }}
}

func ignore(in []func() apdu.StatusWord) []func() apdu.StatusWord {
	f := in[0]
	in[0] = func() apdu.StatusWord { f(); return apdu.SWSuccess }
	return in
}

// TestCompletion refuses while anything is missing and everything after it.
func TestCompletion(t *testing.T) {
	for _, key := range []string{
		fidCOM.key(), fidSOD.key(), fidDG1.key(), fidDG2.key(), fidCardAccess.key(),
		dgiBACKeys.key(), dgiPACEMRZ.key(), dgiPACECAN.key(), dgiChipKey.key(), dgiPIN.key(), dgiPUK.key(),
	} {
		c, _ := personalized(t)
		c.Memory().Delete(key)
		if sw := c.complete(); sw != apdu.SWConditionsOfUseNotSatisfied {
			t.Errorf("completion without %s: %v", key, sw)
		}
		if c.lifeCycle != LifeCyclePersonalizing {
			t.Errorf("completed without %s", key)
		}
	}
	c, h := issued(t)
	if c.lifeCycle != LifeCycleComplete {
		t.Errorf("life cycle %02X after completion", c.lifeCycle)
	}
	for _, g := range h.files {
		must(t, c.sequence(200, false, g), apdu.SWConditionsOfUseNotSatisfied)
	}
	for _, g := range h.secrets() {
		must(t, c.sequence(200, true, g), apdu.SWConditionsOfUseNotSatisfied)
	}
	must(t, c.complete(), apdu.SWConditionsOfUseNotSatisfied)
	c.lifeCycle |= 0x80 // locked by the issuer
	must(t, c.complete(), apdu.SWConditionsOfUseNotSatisfied)

	// Neither DG14 nor a services file: no chip key, no PIN is asked for.
	c, _ = personalized(t)
	for _, key := range []string{
		fidDG14.key(), fidServices.key(), dgiChipKey.key(), dgiPIN.key(), dgiPUK.key(), dgiPairingKey.key(), dgiReceiptKey.key(),
	} {
		c.Memory().Delete(key)
	}
	must(t, c.complete(), apdu.SWSuccess)
}

// blocks8 is a channel whose data encryption key has blocks of 8 bytes, as
// SCP02's, and enciphers nothing.
type blocks8 struct{ *chip }

func (blocks8) DecipherDEK(data []byte) ([]byte, error) {
	if len(data) == 0 || len(data)%8 != 0 {
		return nil, errors.New("no")
	}
	return bytes.Clone(data), nil
}

// TestPaddingOfSecrets takes secrets padded to whole blocks of 8 or of 16
// bytes, and none with a block of padding too much.
func TestPaddingOfSecrets(t *testing.T) {
	c := newChip(t)
	e := blocks8{c}
	for id, value := range map[dgi][]byte{
		dgiBACKeys: make([]byte, 32), dgiPACEMRZ: make([]byte, 20), dgiPACECAN: []byte("123456"),
		dgiPIN: []byte("\x03123456"), dgiPUK: []byte("\x0312345678"),
	} {
		for _, size := range []int{8, 16} {
			if _, sw := c.applet.StoreData(e, 0xE8, 0, grouping{id, icao.Pad(value, size)}.bytes()); !sw.OK() {
				t.Errorf("%04X padded to %d: %v", uint16(id), size, sw)
			}
		}
		over := append(icao.Pad(value, 16), make([]byte, 16)...)
		if _, sw := c.applet.StoreData(e, 0xE8, 0, grouping{id, over}.bytes()); sw != apdu.SWWrongData {
			t.Errorf("%04X with a block of padding too much: %v", uint16(id), sw)
		}
		if _, sw := c.applet.StoreData(e, 0xE8, 0, grouping{id, icao.Pad(value, 8)[1:]}.bytes()); sw != apdu.SWWrongData {
			t.Errorf("%04X in no whole blocks: %v", uint16(id), sw)
		}
	}
}
