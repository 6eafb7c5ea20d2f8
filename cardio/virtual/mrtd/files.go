package mrtd

import (
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
)

// fid is a file identifier.
type fid uint16

const (
	fidMasterFile fid = 0x3F00
	fidCardAccess fid = 0x011C
	fidSOD        fid = 0x011D
	fidCOM        fid = 0x011E
	fidDG1        fid = 0x0101
	fidDG2        fid = 0x0102
	fidDG3        fid = 0x0103
	fidDG4        fid = 0x0104
	fidDG14       fid = 0x010E
	fidDG16       fid = 0x0110
	fidServices   fid = 0x0201
	fidBinding    fid = 0x0202
	fidPairing    fid = 0x0203 // written while the card is in use
)

// hidden reports whether a file is behind the holder's PIN.
func (id fid) hidden() bool { return id >= fidServices && id <= fidPairing }

// file is an elementary file: a transparent EF with a short identifier (0:
// none).
type file struct {
	id  fid
	sfi byte
}

// findFile gives the file of an identifier that can be in a directory: in the
// master file EF.CardAccess, in the application those of LDS1 (Doc 9303-10
// clause 3.11), the services file, the bank's binding and
// the pairing records.
func findFile(at directory, id fid) (file, bool) {
	switch {
	case at == masterFile && id == fidCardAccess:
	case at == application && id >= fidDG1 && id <= fidDG16:
	case at == application && (id == fidCOM || id == fidSOD):
	case at == application && id.hidden():
		return file{id: id}, true
	default:
		return file{}, false
	}
	return file{id: id, sfi: byte(id)}, true // SFI is the low byte everywhere
}

// findShort gives the file of a short identifier, 1 … 30.
func findShort(at directory, sfi byte) (file, bool) { return findFile(at, 0x0100|fid(sfi)) }

// key is where a file's content lies in the chip's memory.
func (id fid) key() string { return fmt.Sprintf("ef/%04X", uint16(id)) }

// mayRead is the access rule of a file. EF.CardAccess is open; everything
// else needs BAC or PACE. DG3 and DG4 need terminal authentication on top
// (Doc 9303-11 clause 7.1), which this chip does not offer: they are never
// read. The files from 0201 on need the holder's PIN, and not the
// transport PIN once the card is complete.
func (a *Applet) mayRead(e virtual.Env, f file) apdu.StatusWord {
	switch {
	case f.id == fidCardAccess:
		return apdu.SWSuccess
	case !a.secureMessaging(), f.id == fidDG3, f.id == fidDG4:
		return apdu.SWSecurityStatusNotSatisfied
	case !f.id.hidden():
		return apdu.SWSuccess
	case !a.pinOK:
		return apdu.SWSecurityStatusNotSatisfied
	case complete(e) && loadPIN(e).transport:
		return apdu.SWConditionsOfUseNotSatisfied
	}
	return apdu.SWSuccess
}

// open makes a file current. What it answers to an unread file of the
// application does not tell whether the file is there.
func (a *Applet) open(e virtual.Env, f file) apdu.StatusWord {
	sw := a.mayRead(e, f)
	if f.id.hidden() && a.secureMessaging() {
		sw = apdu.SWSuccess // the PIN is asked for when reading
	}
	if !sw.OK() {
		return sw
	}
	content := e.Memory().Get(f.id.key())
	if f.id == fidPairing {
		content = pairingFile(e)
	}
	if len(content) == 0 {
		return apdu.SWFileNotFound
	}
	a.current, a.content = f, content
	return apdu.SWSuccess
}

// P1 of SELECT (ISO/IEC 7816-4 table 63).
const (
	selectAny      = 0x00 // MF, DF or EF by identifier
	selectEF       = 0x02
	selectDFName   = 0x04
	selectFromMF   = 0x08
	selectDataMask = 0xF3 // of P2: all but the bits of what is returned
)

// P2 of SELECT: what is returned.
const (
	returnFCI     = 0x00
	returnFCP     = 0x04
	returnNothing = 0x0C
)

// selectFile executes SELECT inside the application, and SELECT of the
// application itself when it comes under secure messaging, where the chip
// cannot see it.
func (a *Applet) selectFile(e virtual.Env, c secured) ([]byte, apdu.StatusWord) {
	if c.P2&selectDataMask != 0 || c.P2 == 0x08 {
		return nil, apdu.SWIncorrectP1P2
	}
	switch c.P1 {
	case selectDFName:
		if !isAID(c.Data) {
			return nil, apdu.SWFileNotFound
		}
		a.at, a.current, a.content = application, file{}, nil
		a.forgetPIN()
		return selectAnswer(c.Command, applicationFCI)
	case selectAny, selectEF, selectFromMF:
	default:
		return nil, apdu.SWIncorrectP1P2
	}
	if c.P1 == selectAny && len(c.Data) == 0 {
		return a.selectMasterFile(c)
	}
	if len(c.Data) != 2 {
		return nil, apdu.SWWrongLength
	}
	id := fid(c.Data[0])<<8 | fid(c.Data[1])
	if c.P1 == selectAny && id == fidMasterFile {
		return a.selectMasterFile(c)
	}
	at := a.at
	if c.P1 == selectFromMF {
		at = masterFile
	}
	f, ok := findFile(at, id)
	if !ok {
		return nil, apdu.SWFileNotFound
	}
	if sw := a.open(e, f); !sw.OK() {
		return nil, sw
	}
	a.at = at
	return selectAnswer(c.Command, func() []byte { return fileControl(f, len(a.content)) })
}

func (a *Applet) selectMasterFile(c secured) ([]byte, apdu.StatusWord) {
	a.at, a.current, a.content = masterFile, file{}, nil
	a.forgetPIN()
	return selectAnswer(c.Command, func() []byte {
		out := tlv.Encode(0x82, []byte{0x38}) // a DF, not shareable
		return tlv.Append(out, 0x83, []byte{byte(fidMasterFile >> 8), byte(fidMasterFile & 0xFF)})
	})
}

func applicationFCI() []byte { return tlv.Encode(0x84, aid) }

// fileControl is the control parameters of a transparent EF (ISO/IEC 7816-4
// clause 7.4.3): size, descriptor, identifier, short identifier.
func fileControl(f file, size int) []byte {
	out := tlv.Append(nil, 0x80, []byte{byte(size >> 8), byte(size)})
	out = tlv.Append(out, 0x82, []byte{0x01})
	out = tlv.Append(out, 0x83, []byte{byte(f.id >> 8), byte(f.id)})
	if f.sfi != 0 {
		out = tlv.Append(out, 0x88, []byte{f.sfi << 3})
	}
	return out
}

// selectAnswer is the data field that P2 asks for, left out where the command
// expects none.
func selectAnswer(c apdu.Command, parameters func() []byte) ([]byte, apdu.StatusWord) {
	var template tlv.Tag
	switch c.P2 {
	case returnFCI:
		template = 0x6F
	case returnFCP:
		template = 0x62
	case returnNothing:
		return nil, apdu.SWSuccess
	default:
		return nil, apdu.SWIncorrectP1P2
	}
	if c.Ne == 0 {
		return nil, apdu.SWSuccess
	}
	return tlv.Encode(template, parameters()), apdu.SWSuccess
}
