package apdu

import "fmt"

// ForT0 is the form in which a command travels over T=0 (ISO/IEC 7816-3:2006
// clause 12.2): the Le of a command with data stays behind, because the card
// announces its answer with 61xx, which SendRaw continues. Extended commands
// do not travel over T=0 by themselves and are refused.
func ForT0(raw []byte) ([]byte, error) {
	c, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	if c.Extended {
		return nil, fmt.Errorf("apdu: an extended command does not travel over T=0")
	}
	switch {
	case len(raw) == 4:
		return append(raw[:4:4], 0), nil // a header takes P3 = 00
	case len(c.Data) > 0 && c.Ne > 0:
		return raw[: len(raw)-1 : len(raw)-1], nil
	}
	return raw, nil
}
