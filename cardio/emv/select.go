package emv

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sort"

	"cardbureau/cardio/apdu"
)

// Names of the directories (Book 1, section 12.2.2; Book B, section 3.3.2).
const (
	PSE  = "1PAY.SYS.DDF01" // contact
	PPSE = "2PAY.SYS.DDF01" // contactless
)

// Statuses of SELECT (Book 1, section 12.3.3).
const (
	swBlocked     = apdu.SWSelectedFileInvalidated // 6283: the application is blocked
	swCardBlocked = apdu.SWFunctionNotSupported    // 6A81: the card is
)

// SelectFile selects by name and reads the file control information. ErrBlocked
// comes with it; ErrCardBlocked and ErrNotFound without.
func SelectFile(ctx context.Context, card apdu.Card, name []byte) (FCI, error) {
	return selectFile(ctx, card, name, false)
}

func selectFile(ctx context.Context, card apdu.Card, name []byte, next bool) (FCI, error) {
	c := apdu.Command{INS: 0xA4, P1: 0x04, Data: name, Ne: 256}
	if next {
		c.P2 = 0x02
	}
	r, err := apdu.Send(ctx, card, c)
	if err != nil {
		return FCI{}, err
	}
	var note error
	switch r.SW {
	case apdu.SWSuccess:
	case swBlocked:
		if note = fmt.Errorf("select %s: %w (6283)", nameOf(name), ErrBlocked); len(r.Data) == 0 {
			return FCI{}, note
		}
	case swCardBlocked:
		return FCI{}, fmt.Errorf("select %s: %w (6A81)", nameOf(name), ErrCardBlocked)
	case apdu.SWFileNotFound:
		return FCI{}, fmt.Errorf("select %s: %w", nameOf(name), ErrNotFound)
	default:
		return FCI{}, fmt.Errorf("select %s: %w", nameOf(name), status(c, r.SW))
	}
	f, err := ParseFCI(r.Data)
	if err == nil && !bytes.HasPrefix(f.Name, name) {
		err = format("the file control information names another application")
	}
	if err != nil {
		return FCI{}, fmt.Errorf("select %s: %w", nameOf(name), err)
	}
	return f, note
}

func nameOf(name []byte) string {
	if s := string(name); s == PSE || s == PPSE {
		return s
	}
	return hex.EncodeToString(name)
}

func status(c apdu.Command, sw apdu.StatusWord) error {
	return &apdu.StatusError{Header: [4]byte{c.CLA, c.INS, c.P1, c.P2}, SW: sw}
}

// ReadDirectory reads PSE: its file control information and all entries of its
// directory file (Book 1, section 12.3.2).
func ReadDirectory(ctx context.Context, card apdu.Card) (FCI, []DirectoryEntry, error) {
	f, err := SelectFile(ctx, card, []byte(PSE))
	if err != nil {
		return f, nil, err
	}
	if f.SFI < 1 || f.SFI > 10 {
		return f, nil, format("PSE names file %d as its directory", f.SFI)
	}
	var out []DirectoryEntry
	for n := byte(1); n != 0; n++ {
		b, err := ReadRecord(ctx, card, f.SFI, n)
		if errors.Is(err, apdu.SWRecordNotFound) {
			break
		}
		if err != nil {
			return f, nil, err
		}
		entries, err := ParseDirectory(b)
		if err != nil {
			return f, nil, err
		}
		out = append(out, entries...)
	}
	return f, out, nil
}

// ReadPPSE reads the contactless directory, which is in its file control
// information (Book B, section 3.3.2).
func ReadPPSE(ctx context.Context, card apdu.Card) ([]DirectoryEntry, error) {
	f, err := SelectFile(ctx, card, []byte(PPSE))
	if err != nil {
		return nil, err
	}
	if len(f.Directory) == 0 {
		return nil, fmt.Errorf("%w: PPSE lists no application", ErrMissing)
	}
	return f.Directory, nil
}

// ReadRecord reads one record. A status other than 9000 is an *apdu.StatusError.
func ReadRecord(ctx context.Context, card apdu.Card, sfi, number byte) ([]byte, error) {
	c := readRecord(sfi, number)
	r, err := apdu.Send(ctx, card, c)
	if err != nil {
		return nil, fmt.Errorf("record %d of file %d: %w", number, sfi, err)
	}
	if !r.SW.OK() {
		return nil, fmt.Errorf("record %d of file %d: %w", number, sfi, status(c, r.SW))
	}
	return r.Data, nil
}

func readRecord(sfi, number byte) apdu.Command {
	return apdu.Command{INS: 0xB2, P1: number, P2: sfi<<3 | 4, Ne: 256}
}

// Wanted is an application that a terminal knows.
type Wanted struct {
	AID     []byte
	Partial bool // longer names that begin with the AID will do as well
}

func (w Wanted) matches(name []byte) bool {
	return bytes.Equal(w.AID, name) || w.Partial && bytes.HasPrefix(name, w.AID)
}

// Candidate is an application that card and terminal have in common.
type Candidate struct {
	DirectoryEntry
	Wanted Wanted
}

// Candidates makes the candidate list, best first (Book 1, sections 12.3 and
// 12.4): from PSE where the card has one that serves, and otherwise by trying the
// terminal's AIDs.
func Candidates(ctx context.Context, card apdu.Card, wanted []Wanted) ([]Candidate, error) {
	_, entries, err := ReadDirectory(ctx, card)
	if errors.Is(err, ErrCardBlocked) {
		return nil, err
	}
	if lost(err) {
		return nil, err
	}
	var out []Candidate
	if err == nil {
		for _, e := range entries {
			for _, w := range wanted {
				if w.matches(e.AID) {
					out = append(out, Candidate{e, w})
					break
				}
			}
		}
	}
	if len(out) == 0 {
		if out, err = listOfAIDs(ctx, card, wanted); err != nil {
			return nil, err
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return rank(out[i]) < rank(out[j]) })
	return out, nil
}

// lost reports an error of the connection: not the card's answer, of which there
// is none to go by.
func lost(err error) bool {
	var sw *apdu.StatusError
	return err != nil && !errors.As(err, &sw) && !errors.Is(err, ErrBlocked) && !errors.Is(err, ErrNotFound) &&
		!errors.Is(err, ErrFormat) && !errors.Is(err, ErrTwice) && !errors.Is(err, ErrMissing)
}

func rank(c Candidate) byte {
	if p := c.Priority & 0x0F; p > 0 {
		return p
	}
	return 16
}

// maxOccurrences bounds the search for further applications of one AID.
const maxOccurrences = 16

func listOfAIDs(ctx context.Context, card apdu.Card, wanted []Wanted) (out []Candidate, err error) {
	for _, w := range wanted {
		seen := map[string]bool{}
		for i := range maxOccurrences {
			f, err := selectFile(ctx, card, w.AID, i > 0)
			if errors.Is(err, ErrCardBlocked) && i == 0 {
				return nil, err
			}
			if lost(err) {
				return nil, err
			}
			if err != nil && !errors.Is(err, ErrBlocked) || seen[string(f.Name)] {
				break
			}
			if err == nil && w.matches(f.Name) {
				out = append(out, Candidate{DirectoryEntry{AID: f.Name, Label: f.Label, Preferred: f.Preferred, Priority: f.Priority}, w})
			}
			seen[string(f.Name)] = true
			if !w.Partial {
				break
			}
		}
	}
	return out, nil
}
