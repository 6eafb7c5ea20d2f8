package uicc

import (
	"fmt"
	"strings"
)

// imsIdentity is a file of an ISIM as it follows from the IMSI (TS 23.003 clauses 13.2
// to 13.4B): the home domain ims.mncMNC.mccMCC.3gppnetwork.org with a network code of
// three digits, the private identity IMSI@domain, the public one sip:IMSI@domain. The
// file has it behind tag 80 and a length (TS 31.103 clauses 4.2.2 to 4.2.4).
func (s *Subscription) imsIdentity(value string) ([]byte, error) {
	if len(s.IMSI) < 6 || s.MNCDigits != 2 && s.MNCDigits != 3 {
		return nil, fmt.Errorf("%w: %s comes of the IMSI and the length of its network code", ErrValue, value)
	}
	mnc := strings.Repeat("0", 3-s.MNCDigits) + s.IMSI[3:3+s.MNCDigits]
	text := "ims.mnc" + mnc + ".mcc" + s.IMSI[:3] + ".3gppnetwork.org"
	switch value {
	case "impi":
		text = s.IMSI + "@" + text
	case "impu":
		text = "sip:" + s.IMSI + "@" + text
	}
	return append([]byte{0x80, byte(len(text))}, text...), nil // at most 63 bytes
}
