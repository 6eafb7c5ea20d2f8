package apdu

import "fmt"

// StatusWord is SW1 SW2 (ISO/IEC 7816-4 clause 5.6). It is an error value, so
// that errors.Is(err, apdu.SWSecurityStatusNotSatisfied) reads as it sounds.
type StatusWord uint16

// Status words that this project tells apart. GlobalPlatform Card
// Specification 2.3.1 section 11 and ICAO 9303-11 use the same values.
const (
	SWSuccess                       StatusWord = 0x9000
	SWEndOfFile                     StatusWord = 0x6282
	SWSelectedFileInvalidated       StatusWord = 0x6283
	SWAuthenticationFailed          StatusWord = 0x6300
	SWMemoryFailure                 StatusWord = 0x6581
	SWWrongLength                   StatusWord = 0x6700
	SWLogicalChannelNotSupported    StatusWord = 0x6881
	SWSecureMessagingNotSupported   StatusWord = 0x6882
	SWLastCommandOfChainExpected    StatusWord = 0x6883
	SWCommandChainingNotSupported   StatusWord = 0x6884
	SWSecurityStatusNotSatisfied    StatusWord = 0x6982
	SWAuthenticationMethodBlocked   StatusWord = 0x6983
	SWReferencedDataNotUsable       StatusWord = 0x6984
	SWConditionsOfUseNotSatisfied   StatusWord = 0x6985
	SWCommandNotAllowed             StatusWord = 0x6986
	SWSecureMessagingObjectsMissing StatusWord = 0x6987
	SWSecureMessagingIncorrect      StatusWord = 0x6988
	SWWrongData                     StatusWord = 0x6A80
	SWFunctionNotSupported          StatusWord = 0x6A81
	SWFileNotFound                  StatusWord = 0x6A82
	SWRecordNotFound                StatusWord = 0x6A83
	SWNotEnoughMemory               StatusWord = 0x6A84
	SWIncorrectP1P2                 StatusWord = 0x6A86
	SWReferencedDataNotFound        StatusWord = 0x6A88
	SWFileAlreadyExists             StatusWord = 0x6A89
	SWWrongP1P2                     StatusWord = 0x6B00
	SWInstructionNotSupported       StatusWord = 0x6D00
	SWClassNotSupported             StatusWord = 0x6E00
	SWNoPreciseDiagnosis            StatusWord = 0x6F00
)

var statusText = map[StatusWord]string{
	SWSuccess:                       "success",
	SWEndOfFile:                     "end of file reached",
	SWSelectedFileInvalidated:       "selected file or application deactivated",
	SWAuthenticationFailed:          "authentication failed",
	SWMemoryFailure:                 "memory failure",
	SWWrongLength:                   "wrong length",
	SWLogicalChannelNotSupported:    "logical channel not supported",
	SWSecureMessagingNotSupported:   "secure messaging not supported",
	SWLastCommandOfChainExpected:    "last command of a chain expected",
	SWCommandChainingNotSupported:   "command chaining not supported",
	SWSecurityStatusNotSatisfied:    "security status not satisfied",
	SWAuthenticationMethodBlocked:   "authentication method blocked",
	SWReferencedDataNotUsable:       "referenced data not usable",
	SWConditionsOfUseNotSatisfied:   "conditions of use not satisfied",
	SWCommandNotAllowed:             "command not allowed",
	SWSecureMessagingObjectsMissing: "secure messaging data objects missing",
	SWSecureMessagingIncorrect:      "secure messaging data objects incorrect",
	SWWrongData:                     "wrong data",
	SWFunctionNotSupported:          "function not supported",
	SWFileNotFound:                  "file or application not found",
	SWRecordNotFound:                "record not found",
	SWNotEnoughMemory:               "not enough memory",
	SWIncorrectP1P2:                 "incorrect P1 P2",
	SWReferencedDataNotFound:        "referenced data not found",
	SWFileAlreadyExists:             "file already exists",
	SWWrongP1P2:                     "wrong P1 P2 (offset outside the file)",
	SWInstructionNotSupported:       "instruction not supported",
	SWClassNotSupported:             "class not supported",
	SWNoPreciseDiagnosis:            "no precise diagnosis",
}

// SW1 is the high byte.
func (s StatusWord) SW1() byte { return byte(s >> 8) }

// SW2 is the low byte.
func (s StatusWord) SW2() byte { return byte(s) }

// OK reports 9000.
func (s StatusWord) OK() bool { return s == SWSuccess }

// Retries returns the tries left that 63Cx carries (ISO/IEC 7816-4 table 6).
func (s StatusWord) Retries() (n int, ok bool) {
	if s&0xFFF0 == 0x63C0 {
		return int(s & 0x0F), true
	}
	return 0, false
}

// String is four hexadecimal digits and, where known, what they mean.
func (s StatusWord) String() string {
	if n, ok := s.Retries(); ok {
		return fmt.Sprintf("%04X (verification failed, tries left: %d)", uint16(s), n)
	}
	if text, ok := statusText[s]; ok {
		return fmt.Sprintf("%04X (%s)", uint16(s), text)
	}
	return fmt.Sprintf("%04X", uint16(s))
}

// Error makes a status word an error value; see StatusError for the one that
// also names the command.
func (s StatusWord) Error() string { return "card answered " + s.String() }

// StatusError is an unexpected status word with the command that drew it.
// It unwraps to the StatusWord. It carries no command or response data.
type StatusError struct {
	Header [4]byte // CLA INS P1 P2 as sent
	SW     StatusWord
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("command %X: card answered %s", e.Header[:], e.SW.String())
}

// Unwrap gives the status word to errors.Is and errors.As.
func (e *StatusError) Unwrap() error { return e.SW }

// Response is a response APDU: data, then SW1 SW2.
type Response struct {
	Data []byte
	SW   StatusWord
}

// ParseResponse splits a response. Fewer than two bytes is ErrInDoubt: a
// reader that lost its card mid-command answers so, and nothing is known about
// whether the command was executed.
func ParseResponse(b []byte) (Response, error) {
	if len(b) < 2 {
		return Response{}, fmt.Errorf("%w: the response has %d bytes", ErrInDoubt, len(b))
	}
	n := len(b) - 2
	return Response{Data: b[:n:n], SW: StatusWord(b[n])<<8 | StatusWord(b[n+1])}, nil
}

// Bytes encodes the response.
func (r Response) Bytes() []byte {
	out := make([]byte, 0, len(r.Data)+2)
	out = append(out, r.Data...)
	return append(out, byte(r.SW>>8), byte(r.SW))
}
