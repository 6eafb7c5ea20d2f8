package apdu

import "errors"

// ErrExtendedT0: a command in the extended encoding, for a card at T=0. It was not
// sent. T=0 carries such only inside ENVELOPE (ISO/IEC 7816-3:2006 clause
// 12.2), which cards need not know and which this package does not do: send
// less data a command, or a chain (Chain).
var ErrExtendedT0 = errors.New("apdu: a card at T=0 takes no extended command: send short ones, or a chain")

// ForT0 is the form in which a command travels over T=0 (ISO/IEC 7816-3:2006
// clause 12.2): the Le of a command with data stays behind, because the card
// announces its answer with 61xx, which SendRaw continues. Extended commands
// do not travel over T=0 by themselves: ErrExtendedT0.
func ForT0(raw []byte) ([]byte, error) {
	c, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	if c.Extended {
		return nil, ErrExtendedT0
	}
	switch {
	case len(raw) == 4:
		return append(raw[:4:4], 0), nil // a header takes P3 = 00
	case len(c.Data) > 0 && c.Ne > 0:
		return raw[: len(raw)-1 : len(raw)-1], nil
	}
	return raw, nil
}

// AfterWarning is the GET RESPONSE that fetches what a card over T=0 holds
// back behind a warning: 62xx or 63xx (but not 63Cx) without data, to a
// command with data that expects an answer. Most cards announce it with 61xx
// and warn at the end; UICCs and others warn at once (ETSI TS 102 221 clause
// 7.3.1.1.4, case 4). It is nil when there is nothing to ask for. A card that
// has no data answers it with an error, which changes nothing.
func AfterWarning(raw, response []byte) []byte {
	c, err := Parse(raw)
	if err != nil || len(c.Data) == 0 || c.Ne == 0 || len(response) != 2 {
		return nil
	}
	switch sw := StatusWord(response[0])<<8 | StatusWord(response[1]); {
	case sw.SW1() == 0x62, sw.SW1() == 0x63 && sw.SW2()&0xF0 != 0xC0:
		return []byte{channelOnly(c.CLA), 0xC0, 0, 0, 0}
	}
	return nil
}
