package virtual

import (
	"bytes"
	"slices"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// Installer is an Applet that has something to do when it is installed, or to
// say to its parameters.
type Installer interface {
	// Install is called once, at INSTALL [for install], on a value that
	// serves no other call. params is the value of tag C9, empty where it was
	// empty or missing. Any status word but 9000 refuses the installation:
	// nothing of it stays.
	Install(e Env, params []byte) apdu.StatusWord
}

// inert is an application whose code was loaded: this chip has no interpreter
// for it. It can be selected and does nothing.
type inert struct{ aid []byte }

func (a inert) Select(Env, apdu.Command) ([]byte, apdu.StatusWord) {
	return tlv.Encode(0x6F, tlv.Encode(0x84, a.aid), tlv.Encode(0xA5)), apdu.SWSuccess
}

func (inert) Deselect(Env) {}

func (inert) Process(Env, apdu.Command) ([]byte, apdu.StatusWord) {
	return nil, apdu.SWInstructionNotSupported
}

func (inert) StoreData(Env, byte, byte, []byte) ([]byte, apdu.StatusWord) {
	return nil, apdu.SWConditionsOfUseNotSatisfied
}

// loadFile finds a load file by its whole AID.
func (r *registry) loadFile(aid []byte) *LoadFile {
	i := slices.IndexFunc(r.loadFiles, func(f LoadFile) bool { return bytes.Equal(f.AID, aid) })
	if i < 0 {
		return nil
	}
	return &r.loadFiles[i]
}

// installCode lets a new application have its say; a refusal leaves nothing of
// its data.
func (c *Chip) installCode(a *application, params []byte) apdu.StatusWord {
	if a.isDomain() {
		a.ring = &keyring{space: c.reg.domainSpace(a)}
		return apdu.SWSuccess
	}
	applet, ok := c.newCode(a).(Installer)
	if !ok {
		return apdu.SWSuccess
	}
	e := &env{chip: c, app: a}
	defer e.end()
	sw := applet.Install(e, params)
	if sw.OK() && c.exceeds(a) {
		sw = apdu.SWNotEnoughMemory
	}
	if !sw.OK() {
		c.wipe(a)
	}
	return sw
}

// wipe deletes what an application, or a security domain, stored.
func (c *Chip) wipe(a *application) {
	space := c.mem.Space(appSpace + aidKey(a.aid))
	if a.isDomain() {
		space = c.reg.domainSpace(a)
	}
	for _, k := range space.Keys("") {
		space.Delete(k)
	}
}

// overQuota says whether an application whose memory the command in hand used
// holds more there than it may (GPC_SPE_034 v2.3.1 section 9.7, tag C8 of
// INSTALL [for install]).
func (c *Chip) overQuota() bool { return slices.ContainsFunc(c.touched, c.exceeds) }

func (c *Chip) exceeds(a *application) bool {
	if a.extra.quota == 0 {
		return false
	}
	space := c.mem.Space(appSpace + aidKey(a.aid))
	var n uint64
	for _, k := range space.Keys("") {
		n += uint64(len(space.Get(k)))
	}
	return n > uint64(a.extra.quota)
}

// dropWrites takes back what the command in hand wrote, for applications that
// have stored too much. Session and selection go on.
func (c *Chip) dropWrites() {
	c.mem.Rollback()
	for _, a := range c.touched {
		for _, l := range c.channels {
			if l != nil && l.personal.app == a {
				l.personal = personalization{}
			}
		}
		if stored, err := decodeApplication(c.reg.space.Get("app/" + aidKey(a.aid))); err == nil {
			a.state = stored.state
		}
	}
}
