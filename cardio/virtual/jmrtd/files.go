package jmrtd

import (
	"encoding/binary"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
)

// Files that are treated apart.
const (
	fileDG1        = 0x0101
	fileDG3        = 0x0103
	fileDG4        = 0x0104
	fileDG15       = 0x010F
	fileCardAccess = 0x011C // of the fork; EF.CVCA otherwise
	fileSOD        = 0x011D
	fileCOM        = 0x011E
	fileLog        = 0xDEAD // the applet's own
)

// maxFile is the greatest file in bytes: sizes and offsets are signed.
const maxFile = 0x7FFF

// maxRead is what one READ BINARY gives at most, in bytes: a card's APDU
// buffer of 261 less the 37 that the applet keeps for secure messaging.
const maxRead = 261 - 37

// known reports that the applet has a place for a file. It has none for DG16.
func known(fid uint16) bool {
	switch fid {
	case fileCardAccess, fileSOD, fileCOM, fileLog:
		return true
	}
	return fid >= fileDG1 && fid <= fileDG15
}

// guarded reports that a file wants terminal authentication, to make it
// already.
func guarded(fid uint16) bool { return fid == fileDG3 || fid == fileDG4 }

// fileKey is where a file lies in the chip's memory: its size in 2 bytes, then
// as many bytes as its first CREATE FILE asked for.
func fileKey(fid uint16) string { return fmt.Sprintf("ef/%04X", fid) }

// load gives a file's bytes up to its size; nil where it does not exist.
func load(e virtual.Env, fid uint16) (content []byte) {
	b := e.Memory().Get(fileKey(fid))
	if b == nil {
		return nil
	}
	return b[2 : 2+int(binary.BigEndian.Uint16(b))]
}

// createFile executes CREATE FILE: 63 04 size fid, each of 2 bytes. The first
// one makes room; another one of the same or a smaller size sets the size and
// leaves the bytes.
func (a *Applet) createFile(e virtual.Env, c command) apdu.StatusWord {
	if sw := a.mayWrite(e); !sw.OK() {
		return sw
	}
	if len(c.Data) < 6 || c.Data[1] < 4 {
		return apdu.SWWrongLength
	}
	if c.Data[0] != 0x63 {
		return swInvalid
	}
	size, fid := binary.BigEndian.Uint16(c.Data[2:]), binary.BigEndian.Uint16(c.Data[4:])
	switch {
	case guarded(fid):
		return apdu.SWSecurityStatusNotSatisfied
	case !known(fid), size > maxFile:
		return swCrash
	}
	key := fileKey(fid)
	b := e.Memory().Get(key)
	switch {
	case b == nil:
		e.Memory().Set(key, append(binary.BigEndian.AppendUint16(nil, size), make([]byte, size)...))
	case len(b)-2 < int(size):
		return swFull
	default:
		e.Memory().WriteAt(key, 0, binary.BigEndian.AppendUint16(nil, size))
	}
	return apdu.SWSuccess
}

// selectFile executes SELECT by file identifier, whatever P1 and P2 say.
func (a *Applet) selectFile(e virtual.Env, c command) apdu.StatusWord {
	closed := lifeCycle(e) == locked && a.session() == nil
	if closed && !a.fork {
		return apdu.SWSecurityStatusNotSatisfied
	}
	if len(c.Data) != 2 {
		return apdu.SWWrongLength
	}
	fid := binary.BigEndian.Uint16(c.Data)
	if closed && fid != fileCardAccess && fid != fileCOM && fid != fileSOD {
		return apdu.SWSecurityStatusNotSatisfied
	}
	if guarded(fid) {
		return apdu.SWSecurityStatusNotSatisfied
	}
	if !known(fid) || load(e, fid) == nil {
		a.selected = 0
		return apdu.SWFileNotFound
	}
	a.selected = fid
	return apdu.SWSuccess
}

// readBinary executes READ BINARY. Without secure messaging the applet knows
// no Le, so that it gives nothing; the fork does. Le = 00 under secure
// messaging is zero bytes.
func (a *Applet) readBinary(e virtual.Env, c command) ([]byte, apdu.StatusWord) {
	if a.session() == nil && !a.openRead(e) {
		return nil, apdu.SWSecurityStatusNotSatisfied
	}
	if a.selected == 0 {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	le := c.le
	if !c.secured && !a.fork {
		le = 0
	}
	content := load(e, a.selected)
	offset := int(c.P1)<<8 | int(c.P2)
	if offset > len(content) { // a negative one among them: P1 bit 8
		return nil, swCrash
	}
	n := min(maxRead, len(content)-offset, le)
	return content[offset : offset+n], apdu.SWSuccess
}

// openRead reports that the fork gives the selected file to anyone:
// EF.CardAccess, and after 00DADEFE 01 EF.COM and EF.SOD of a locked applet.
func (a *Applet) openRead(e virtual.Env) bool {
	switch {
	case !a.fork:
		return false
	case a.selected == fileCardAccess:
		return true
	case a.selected == fileCOM, a.selected == fileSOD:
		return lifeCycle(e) == locked && e.Memory().Get(keyOpenReads) != nil
	}
	return false
}

// updateBinary executes UPDATE BINARY on the selected file.
func (a *Applet) updateBinary(e virtual.Env, c command) apdu.StatusWord {
	if a.selected == 0 {
		return apdu.SWConditionsOfUseNotSatisfied
	}
	if sw := a.mayWrite(e); !sw.OK() {
		return sw
	}
	if c.secured {
		return swCrash // the applet asks for the data a second time
	}
	offset := int(c.P1)<<8 | int(c.P2)
	switch {
	case len(c.Data) == 0:
		return apdu.SWSuccess
	case offset > maxFile:
		return swCrash
	case offset+len(c.Data) > len(load(e, a.selected)):
		return swFull
	}
	e.Memory().WriteAt(fileKey(a.selected), 2+offset, c.Data)
	return apdu.SWSuccess
}
