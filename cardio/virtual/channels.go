package virtual

import "cardbureau/cardio/apdu"

// Logical channels (ISO/IEC 7816-4 clause 5.4; GPC_SPE_034 v2.3.1 sections
// 6.3 and 11.7). Their numbers go up to 19; this chip keeps four open beside
// the basic one, whatever their numbers.
const (
	channelCount      = 20
	maxSupplementary  = 4
	swAlreadyClosed   = apdu.StatusWord(0x6200)
	manageChannelOpen = 0x00
	manageChannelShut = 0x80
)

// logical is what each logical channel has of its own. The secure channel
// session lives and dies with the channel that it was opened on.
type logical struct {
	selected *application // nil: the issuer security domain
	session  session
	personal personalization
	page     statusPage
	loading  *loading // the load file being loaded
}

// channel is the logical channel of a class byte and the class byte that says
// the same on the basic channel, in the first coding (ISO/IEC 7816-4 clause
// 5.4.1; GPC_SPE_034 v2.3.1 section 11.1.4 for classes 80 to 8F and C0 to EF,
// whose secure messaging bit b6 becomes b3). Other proprietary classes have
// none. A C-MAC is computed over the class of the basic channel.
func channel(cla byte) (n int, basic byte) {
	switch {
	case cla < 0x20, cla >= 0x80 && cla < 0x90:
		return int(cla & 0x03), cla &^ 0x03
	case cla >= 0x40 && cla < 0x80:
		basic = cla & 0x10 // command chaining
		if cla&0x20 != 0 {
			basic |= 0x08 // secure messaging, header not authenticated
		}
		return 4 + int(cla&0x0F), basic
	case cla >= 0xC0 && cla < 0xD0:
		return 4 + int(cla&0x0F), 0x80
	case cla >= 0xE0 && cla < 0xF0:
		return 4 + int(cla&0x0F), 0x84
	}
	return 0, cla
}

// manageChannel is MANAGE CHANNEL (GPC_SPE_034 v2.3.1 section 11.7) on channel
// on: P1 = 00 opens the channel P2, or with P2 = 00 the first that is free,
// whose number is the answer; P1 = 80 closes the channel P2. From the basic
// channel the issuer security domain is selected on a new one, from another
// channel what is selected there, which an application here cannot be twice.
func (c *Chip) manageChannel(on int, cmd apdu.Command) ([]byte, apdu.StatusWord) {
	if c.reg.state == CardLocked || c.reg.state == Terminated {
		return nil, apdu.SWFunctionNotSupported
	}
	if len(cmd.Data) != 0 {
		return nil, apdu.SWWrongLength
	}
	n := int(cmd.P2)
	if n >= channelCount {
		return nil, apdu.SWIncorrectP1P2
	}
	switch cmd.P1 {
	case manageChannelOpen:
		return lengthChecked(cmd, func() ([]byte, apdu.StatusWord) { return c.openChannel(on, n) })
	case manageChannelShut:
		if n == 0 {
			return nil, apdu.SWIncorrectP1P2
		}
		if c.channels[n] == nil {
			return nil, swAlreadyClosed
		}
		c.closeChannel(n)
		return nil, apdu.SWSuccess
	}
	return nil, apdu.SWIncorrectP1P2
}

func (c *Chip) openChannel(on, n int) ([]byte, apdu.StatusWord) {
	open, free := 0, 0
	for i := channelCount - 1; i > 0; i-- {
		if c.channels[i] == nil {
			free = i
		} else {
			open++
		}
	}
	if open == maxSupplementary || n != 0 && c.channels[n] != nil {
		return nil, apdu.SWFunctionNotSupported
	}
	if on != 0 && c.channels[on].selected != nil {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	if n != 0 {
		c.channels[n] = &logical{}
		return nil, apdu.SWSuccess
	}
	c.channels[free] = &logical{}
	return []byte{byte(free)}, apdu.SWSuccess
}

// closeChannel ends what runs on a supplementary channel, which may be the
// channel of the command in hand.
func (c *Chip) closeChannel(n int) {
	if a := c.channels[n].selected; a != nil && a.code != nil {
		e := &env{chip: c, app: a}
		a.code.Deselect(e)
		e.end()
	}
	c.channels[n] = nil
}

// selectedElsewhere says whether an application is selected on a channel
// other than that of the command in hand.
func (c *Chip) selectedElsewhere(a *application) bool {
	for _, l := range c.channels {
		if l != nil && l != c.logical && a != nil && l.selected == a {
			return true
		}
	}
	return false
}
