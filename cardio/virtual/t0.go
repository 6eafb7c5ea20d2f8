package virtual

import "cardbureau/cardio/apdu"

// T=0 (ISO/IEC 7816-3:2006 clause 12.2). The reader moves TPDUs: a header of
// five bytes, whose last is P3, and data one way.
//
//	P3 = 00 alone          case 1, or case 2 with Le = 256
//	P3 = Le alone          case 2: exactly as many bytes, or 6Cxx
//	P3 = Lc and Lc bytes   case 3, and case 4: the answer waits, 61xx
//
// What waits is fetched with GET RESPONSE on the same logical channel, and
// gone with any other command. A 6Cxx keeps the answer for the same header
// with the right P3: the command is not executed a second time.
const (
	insGetResponse = 0xC0
	headerSize     = 4
	maxTPDUData    = 256
	swBytesWaiting = apdu.StatusWord(0x6100)
	swWrongLe      = apdu.StatusWord(0x6C00)
)

// outgoing is an answer that the reader has not got yet.
type outgoing struct {
	header  [headerSize]byte // that asks for it once more
	channel int              // whose GET RESPONSE asks for it, when fetch
	fetch   bool             // by GET RESPONSE; otherwise by the header
	data    []byte
	sw      apdu.StatusWord
}

// tpdu executes one TPDU.
func (c *Chip) tpdu(b []byte) ([]byte, apdu.StatusWord) {
	waiting := c.pending
	c.pending = nil
	if len(b) <= headerSize {
		return nil, apdu.SWWrongLength
	}
	if b[1]&0xF0 == 0x60 || b[1]&0xF0 == 0x90 {
		return nil, apdu.SWInstructionNotSupported // would be a procedure byte (clause 10.3.2)
	}
	p3, data := int(b[headerSize]), b[headerSize+1:]
	header := [headerSize]byte(b)
	if len(data) > 0 {
		if len(data) != p3 {
			return nil, apdu.SWWrongLength // extended length, or an Le after the data
		}
		return c.incoming(header, b)
	}
	le := p3
	if le == 0 {
		le = maxTPDUData
	}
	if header[1] == insGetResponse {
		return c.getResponse(header, waiting, le)
	}
	if waiting != nil && !waiting.fetch && waiting.header == header {
		return c.give(waiting, le)
	}
	out, sw := c.execute(b)
	if len(out) == 0 {
		return nil, sw
	}
	return c.give(&outgoing{header: header, data: out, sw: sw}, le)
}

// incoming executes a command with data. It is given the greatest Ne, since
// cases 3 and 4 are the same on this way.
func (c *Chip) incoming(header [headerSize]byte, b []byte) ([]byte, apdu.StatusWord) {
	out, sw := c.execute(append(b[:len(b):len(b)], 0))
	if len(out) == 0 {
		return nil, sw
	}
	n, _ := channel(header[0])
	c.pending = &outgoing{channel: n, fetch: true, data: out, sw: sw}
	if c.reg.has(QuirkWarningFirst) && (sw.SW1() == 0x62 || sw.SW1() == 0x63) {
		c.pending.sw = apdu.SWSuccess
		return nil, sw
	}
	return nil, swBytesWaiting | waitingBytes(out)
}

// getResponse is GET RESPONSE (ISO/IEC 7816-4 clause 11.8.1): an interindustry
// command without secure messaging on the channel of the command before.
func (c *Chip) getResponse(header [headerSize]byte, waiting *outgoing, le int) ([]byte, apdu.StatusWord) {
	n, basic := channel(header[0])
	switch {
	case basic&0x0C != 0 && basic < 0x80:
		return nil, apdu.SWSecureMessagingNotSupported
	case basic != 0x00:
		return nil, apdu.SWClassNotSupported
	case header[2] != 0 || header[3] != 0:
		return nil, apdu.SWIncorrectP1P2
	case waiting == nil || !waiting.fetch || waiting.channel != n:
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	return c.give(waiting, le)
}

// give hands out what the reader asks for. More than there is: 6Cxx, and the
// answer stays. Less: GET RESPONSE gives a part and says what is left; a
// header of case 2 is told the right length, as far as P3 can say it.
func (c *Chip) give(o *outgoing, le int) ([]byte, apdu.StatusWord) {
	switch {
	case le == len(o.data):
		return o.data, o.sw
	case le > len(o.data) || !o.fetch && le != maxTPDUData:
		c.pending = o
		return nil, swWrongLe | waitingBytes(o.data)
	}
	n, _ := channel(o.header[0])
	if o.fetch {
		n = o.channel
	}
	part, rest := o.data[:le], o.data[le:]
	c.pending = &outgoing{channel: n, fetch: true, data: rest, sw: o.sw}
	return part, swBytesWaiting | waitingBytes(rest)
}

// waitingBytes is SW2 of 61xx and 6Cxx: 00 for 256 and more.
func waitingBytes(data []byte) apdu.StatusWord {
	return apdu.StatusWord(byte(min(len(data), maxTPDUData)))
}

// T0 reports whether the chip speaks T=0, so that Transmit takes TPDUs.
func (c *Chip) T0() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reg.t0 && !c.radio
}
