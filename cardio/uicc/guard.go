package uicc

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"cardbureau/cardio/apdu"
)

// ErrNotAllowed marks a command that the guard did not send.
var ErrNotAllowed = errors.New("this is not on the list of what may be done with a SIM")

// NotAllowedError says what was not sent. Match it with ErrNotAllowed too.
type NotAllowedError struct {
	What string // "file 6F7E", "instruction B0 with a short file identifier"
}

func (e *NotAllowedError) Error() string { return ErrNotAllowed.Error() + ": " + e.What }

// Unwrap gives ErrNotAllowed.
func (e *NotAllowedError) Unwrap() error { return ErrNotAllowed }

// Directories, as the guard and file paths name them.
const (
	dirMF      = "3F00"
	dirTelecom = "7F10"
	dirGSM     = "7F20"
	dirADF     = "7FFF" // the application that is selected
)

// allowed are the elementary files of a directory that may be selected: what a
// subscription is, and nothing of where its phone was and what was done with it. So no
// LOCI, PSLOCI, EPSLOCI, 5GS location, FPLMN, BCCH, no keys of the network (Keys,
// KeysPS, Kc), no phone book, no messages, no calls.
var allowed = map[string]map[string]string{
	dirMF:      {"2F00": "EF.DIR", "2F05": "EF.PL", "2F06": "EF.ARR", "2FE2": "EF.ICCID"},
	dirTelecom: {"6F06": "EF.ARR", "6F40": "EF.MSISDN"},
	dirGSM: {
		"6F05": "EF.LP", "6F07": "EF.IMSI", "6F30": "EF.PLMNsel", "6F31": "EF.HPPLMN", "6F38": "EF.SST", "6F46": "EF.SPN", "6F60": "EF.PLMNwAcT",
		"6F61": "EF.OPLMNwAcT", "6F62": "EF.HPLMNwAcT", "6F78": "EF.ACC", "6FAD": "EF.AD", "6FAE": "EF.Phase",
	},
	dirADF: {
		"6F02": "EF.IMPI", "6F03": "EF.DOMAIN", "6F04": "EF.IMPU", "6F05": "EF.LI", "6F06": "EF.ARR", "6F07": "EF.IMSI", "6F31": "EF.HPPLMN", "6F38": "EF.UST",
		"6F40": "EF.MSISDN", "6F46": "EF.SPN", "6F56": "EF.EST", "6F60": "EF.PLMNwAcT", "6F61": "EF.OPLMNwAcT", "6F62": "EF.HPLMNwAcT", "6F78": "EF.ACC",
		"6FAD": "EF.AD", "6FB7": "EF.ECC",
	},
}

// folders may be selected by their identifiers.
var folders = map[string]bool{dirMF: true, dirTelecom: true, dirGSM: true, dirADF: true}

// applications may be selected by their AIDs: USIM, ISIM (TS 101 220 annex E), in full
// or in part.
var applications = []string{"A0000000871002", "A0000000871004"}

// Instructions (TS 102 221 table 10.5, TS 51.011 clause 9.2).
const (
	insTerminalProfile  = 0x10
	insFetch            = 0x12
	insTerminalResponse = 0x14
	insVerify           = 0x20
	insChange           = 0x24
	insDisable          = 0x26
	insEnable           = 0x28
	insUnblock          = 0x2C
	insIncrease         = 0x32
	insAuthenticate     = 0x88
	insSelect           = 0xA4
	insReadBinary       = 0xB0
	insReadRecord       = 0xB2
	insGetResponse      = 0xC0
	insUpdateBinary     = 0xD6
	insUpdateRecord     = 0xDC
	insStatus           = 0xF2
)

// harmless instructions concern no file, or the one that was selected through the
// guard.
var harmless = map[byte]bool{
	insTerminalProfile: true, insFetch: true, insTerminalResponse: true, insVerify: true, insChange: true, insDisable: true, insEnable: true,
	insUnblock: true, insAuthenticate: true, insGetResponse: true, insStatus: true,
}

// guard is the list in front of a card. It follows what is selected.
type guard struct {
	inner apdu.Card

	mu    sync.Mutex
	dir   string          // "" where it is not known
	file  string          // of the list, "7FFF/6F07", that is current; "" where none is
	extra map[string]bool // files of a Kind, "7FFF/AF20", while it is programmed
}

// Guarded is a card behind the list: it passes what may be done with a SIM and answers
// anything else with a NotAllowedError, unsent. inner is a SIM fresh from a reset.
func Guarded(inner apdu.Card) apdu.Card { return newGuard(inner) }

func newGuard(inner apdu.Card) *guard { return &guard{inner: inner, dir: dirMF} }

// Transmit sends what is allowed.
func (g *guard) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c, err := apdu.Parse(command)
	if err != nil {
		return nil, err
	}
	if c.CLA != 0x00 && c.CLA != 0x80 && c.CLA != classGSM {
		return nil, &NotAllowedError{fmt.Sprintf("class %02X", c.CLA)}
	}
	dir, file := g.dir, g.file
	switch {
	case c.INS == insSelect:
		if dir, file, err = g.check(c); err != nil {
			return nil, err
		}
	case harmless[c.INS]:
	case c.INS == insReadBinary || c.INS == insUpdateBinary:
		if c.P1&0x80 != 0 {
			return nil, &NotAllowedError{"a file by its short identifier"}
		}
		err = g.onFile(c)
	case c.INS == insReadRecord || c.INS == insUpdateRecord || c.INS == insIncrease:
		// INCREASE has it in P1 (TS 102 221 clause 11.1.8), the others in P2.
		if c.INS == insIncrease && c.P1&0x80 != 0 || c.INS != insIncrease && c.P2>>3 != 0 {
			return nil, &NotAllowedError{"a file by its short identifier"}
		}
		err = g.onFile(c)
	default:
		return nil, &NotAllowedError{fmt.Sprintf("instruction %02X", c.INS)}
	}
	if err != nil {
		return nil, err
	}
	answer, err := g.inner.Transmit(ctx, command)
	if c.INS != insSelect {
		return answer, err
	}
	n := len(answer)
	if err != nil || n < 2 { // whether the card went there is in doubt
		g.dir, g.file = "", ""
		return answer, err
	}
	switch answer[n-2] {
	case 0x90, 0x91, 0x61, 0x9F, 0x62, 0x63: // with 62 and 63: selected, and perhaps not usable
		g.dir, g.file = dir, file
	}
	return answer, nil
}

// inApplication reports whether the directory of the application is current.
func (g *guard) inApplication() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dir == dirADF
}

// onFile refuses to touch a file that was not selected through the list, and to write
// what says which card this is and what is on it: the files of the master file.
func (g *guard) onFile(c apdu.Command) error {
	if g.file == "" {
		return &NotAllowedError{fmt.Sprintf("instruction %02X without a file that was selected before", c.INS)}
	}
	if c.INS != insReadBinary && c.INS != insReadRecord && strings.HasPrefix(g.file, dirMF+"/") {
		return &NotAllowedError{"writing file " + g.file}
	}
	return nil
}

// check says where a SELECT leads, or that it may not be sent.
func (g *guard) check(c apdu.Command) (dir, file string, err error) {
	text := strings.ToUpper(hex.EncodeToString(c.Data))
	switch c.P1 {
	case 0x00: // by file identifier
		if text == "" {
			text = dirMF
		}
		return g.step(g.dir, text)
	case 0x03: // the parent
		if text != "" { // a card that takes no notice of P1 would go by the identifier
			return "", "", &NotAllowedError{"the parent, with data"}
		}
		return "", "", nil
	case 0x04: // by AID
		for _, aid := range applications {
			if len(c.Data) >= 5 && (strings.HasPrefix(text, aid) || strings.HasPrefix(aid, text)) {
				return dirADF, "", nil
			}
		}
		return "", "", &NotAllowedError{"application " + text}
	case 0x08, 0x09: // by path, from the master file or from the current one
		dir = dirMF
		if c.P1 == 0x09 {
			dir = g.dir
		}
		for len(text) >= 4 {
			if file != "" {
				return "", "", &NotAllowedError{"a path through a file"}
			}
			if dir, file, err = g.step(dir, text[:4]); err != nil {
				return "", "", err
			}
			text = text[4:]
		}
		if text != "" {
			return "", "", &NotAllowedError{"a path of an odd length"}
		}
		return dir, file, nil
	}
	return "", "", &NotAllowedError{fmt.Sprintf("SELECT with P1 %02X", c.P1)}
}

// step is one file identifier from a directory on.
func (g *guard) step(dir, fid string) (to, file string, err error) {
	switch {
	case folders[fid], g.extra[fid]:
		return fid, "", nil
	case g.extra[dir+"/"+fid]:
		return dir, dir + "/" + fid, nil
	case len(fid) == 4 && allowed[dir][fid] != "":
		return dir, dir + "/" + fid, nil
	}
	return "", "", &NotAllowedError{"file " + fid}
}

// standardized are the first digits of identifiers that standards give to files (TS 102
// 221 clause 8.6, TS 31.102 clause 4, TS 51.011 clause 6.6).
var standardized = []string{"2F", "3F", "4F", "5F", "6F", "7F"}

// programmable reports whether a kind may name a file: one of the list that is not of
// the master file, or one that no standard knows. Under a directory that is the maker's
// own every file is.
func programmable(path string) bool {
	parts := strings.Split(path, "/")
	own := func(fid string) bool {
		for _, s := range standardized {
			if strings.HasPrefix(fid, s) {
				return false
			}
		}
		return true
	}
	last := len(parts) - 1
	for _, dir := range parts[:last] {
		if !folders[dir] && !own(dir) {
			return false
		}
	}
	dir, fid := parts[last-1], parts[last]
	return !folders[dir] || own(fid) || dir != dirMF && allowed[dir][fid] != ""
}
