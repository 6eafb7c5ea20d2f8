package virtual

import (
	"bytes"
	"errors"
	"fmt"

	"cardbureau/cardio/virtual/nvm"
)

// link is what a secure channel is opened by: the protocol, its parameter i, and
// the key diversification data that INITIALIZE UPDATE answers with. A security
// domain may have one of its own: cards whose issuer speaks SCP03 come with a
// bank's domain that speaks the SCP02 of EMV CPS.
type link struct {
	protocol byte // 2 or 3
	i        byte
	kdd      []byte // 10 bytes
}

func (r *registry) link() link { return link{r.protocol, r.scp, r.kdd} }

// link is that of channels with the selected application.
func (c *Chip) link() link {
	if own := c.channelKeys().own; own != nil {
		return *own
	}
	return c.reg.link()
}

func (l link) check() error {
	switch l.protocol {
	case 2:
		if l.i&SCP02Explicit != SCP02Explicit || l.i&0x8A != 0 {
			return fmt.Errorf("virtual: there is no SCP02 with i = %02X here", l.i)
		}
	case 3:
		if l.i&^(SCP03Full|SCP03S16) != 0 || l.i&0x60 == 0x40 {
			return fmt.Errorf("virtual: there is no SCP03 with i = %02X", l.i)
		}
	default:
		return fmt.Errorf("virtual: there is no secure channel protocol %02X here, only 02 and 03", l.protocol)
	}
	return nil
}

// link is the domain's on a card that has this one.
func (d SecurityDomain) link(card link) link {
	if d.Protocol != 0 {
		card.protocol, card.i = d.Protocol, d.SCP
	}
	if d.KeyData != nil {
		card.kdd = d.KeyData
	}
	return card
}

func (d SecurityDomain) check(card link) error {
	l := d.link(card)
	if err := l.check(); err != nil {
		return err
	}
	if d.KeyData != nil && len(d.KeyData) != 10 {
		return errors.New("virtual: key diversification data has 10 bytes")
	}
	if d.Keys.Type != keyTypeOf(l.protocol) {
		return fmt.Errorf("virtual: the keys of security domain %X are not of the type of SCP%02X", d.AID, l.protocol)
	}
	return nil
}

// putLink stores it in the domain's space where it is not the card's.
func (d SecurityDomain) putLink(s nvm.Space, card link) {
	if l := d.link(card); d.Protocol != 0 || d.KeyData != nil {
		s.Set("link", append([]byte{l.protocol, l.i}, l.kdd...))
	}
}

func (r *keyring) loadLink() error {
	v := bytes.Clone(r.space.Get("link"))
	if v == nil {
		return nil
	}
	if len(v) != 12 {
		return ErrNoCard
	}
	l := link{v[0], v[1], v[2:]}
	if l.check() != nil {
		return ErrNoCard
	}
	r.own = &l
	return nil
}

// ZeroKeys overwrites the keys of the blank and of its domains.
func (b *Blank) ZeroKeys() {
	b.Keys.Zero()
	for i := range b.Domains {
		b.Domains[i].Keys.Zero()
	}
}
