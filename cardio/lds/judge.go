package lds

// What an inspection makes of what it has read.

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"cardbureau/cardio/lds/datagroup"
)

// judge makes the checks that need no card any more.
func (i *inspection) judge() {
	if i.options.Expected != nil {
		i.report.Note(CheckExpected, i.compare())
	}
	i.report.Note(CheckCOM, i.checkCOM())
	if i.sod == nil {
		return
	}
	i.report.Add(*i.sod.Verify(i.options.Trust, i.options.At))
	numbers := make([]int, 0, len(i.sod.Hashes))
	for n := range i.sod.Hashes {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		switch file := i.doc.Groups[n]; {
		case i.failed[FileDG(n)] != nil:
			i.report.Fail(CheckHash(n), i.failed[FileDG(n)])
		case file == nil:
			i.report.Skip(CheckHash(n), "guarded by extended access control")
		default:
			i.report.Note(CheckHash(n), i.sod.CheckHash(n, file))
		}
	}
	i.judgeChip()
	i.judgeActive()
	i.judgeCardAccess()
	i.judgeContent()
}

func (i *inspection) compare() error {
	for _, id := range sortedKeys(i.options.Expected) {
		want, got := i.options.Expected[id], []byte(nil)
		switch {
		case id == FileCardAccess:
			got = i.doc.CardAccess
			if i.options.BAC {
				continue
			}
		case id == FileCOM:
			got = i.doc.COM
		case id == FileSOD:
			got = i.doc.SOD
		case id > 0x0100 && id <= 0x0110:
			got = i.doc.Groups[int(id-0x0100)]
		default:
			continue // not a file of 9303; whoever wrote it reads it
		}
		if err := i.failed[id]; err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return &FileError{id, errors.New("it is not the file that was written")}
		}
	}
	return nil
}

func (i *inspection) checkCOM() error {
	if err := i.failed[FileCOM]; err != nil {
		return err
	}
	com, err := datagroup.ParseCOM(i.doc.COM)
	if err != nil || i.sod == nil {
		return err
	}
	listed := slices.Sorted(slices.Values(com.DataGroups))
	if !slices.Equal(listed, sortedKeys(i.sod.Hashes)) {
		return fmt.Errorf("EF.COM lists data groups %v, EF.SOD signs %v", listed, sortedKeys(i.sod.Hashes))
	}
	if i.sod.LDSVersion != "" && i.sod.LDSVersion != com.LDSVersion {
		return fmt.Errorf("EF.COM says LDS version %s, EF.SOD says %s", com.LDSVersion, i.sod.LDSVersion)
	}
	return nil
}

// judgeChip counts chip authentication only with the key that was signed.
func (i *inspection) judgeChip() {
	switch {
	case i.chip != nil:
		i.report.Fail(CheckChip, i.chip)
	case i.chipKey == nil:
		i.report.Skip(CheckChip, i.chipSkip)
	case i.sod.CheckHash(14, i.chipKey) != nil:
		i.report.Fail(CheckChip, fmt.Errorf("%w: it holds one, but not the one in the signed DG14", ErrChipAuthentication))
	default:
		i.report.Pass(CheckChip, "with "+i.doc.Session.Cipher().String())
	}
}

// judgeActive counts active authentication only with the key that was signed.
func (i *inspection) judgeActive() {
	dg15 := i.doc.Groups[15]
	switch {
	case dg15 == nil:
	case errors.Is(i.active, ErrNotSupported):
		i.report.Skip(CheckActive, i.active.Error())
	case i.active != nil:
		i.report.Fail(CheckActive, i.active)
	case i.sod.CheckHash(15, dg15) != nil:
		i.report.Fail(CheckActive, fmt.Errorf("%w: it signs, but with a key that is not the one in the signed DG15", ErrActiveAuthentication))
	default:
		i.report.Pass(CheckActive, "")
	}
}

// judgeCardAccess compares what EF.CardAccess, which anyone could change on
// the way, says of PACE with DG14 (9303-11 section 4.4.6).
func (i *inspection) judgeCardAccess() {
	if i.access == nil {
		return
	}
	dg14, err := parseDG14(i.doc.Groups[14])
	if err != nil {
		i.report.Skip(CheckCardAccess, "there is no DG14 to compare it with")
		return
	}
	for _, p := range i.access.PACE {
		if !slices.ContainsFunc(dg14.PACE, func(q PACEInfo) bool {
			return p.OID.Equal(q.OID) && p.Version == q.Version && p.Parameter == q.Parameter
		}) {
			i.report.Fail(CheckCardAccess, fmt.Errorf("EF.CardAccess offers %v, which DG14 does not confirm", p.OID))
			return
		}
	}
	i.report.Pass(CheckCardAccess, "")
}

func (i *inspection) judgeContent() {
	if file := i.doc.Groups[1]; file != nil {
		mrz, err := datagroup.ParseDG1(file)
		if i.report.Note(CheckDG1, err) {
			i.report.Note(CheckDocument, i.mayHaveSigned(mrz))
		}
	}
	if file := i.doc.Groups[2]; file != nil {
		_, err := datagroup.ParseDG2(file)
		i.report.Note(CheckDG2, err)
	}
	if file := i.doc.Groups[11]; file != nil {
		_, err := datagroup.ParseDG11(file)
		i.report.Note(CheckDG11, err)
	}
}

// mayHaveSigned compares the MRZ with the signer's document types and State
// (9303-12 section 7.1.1).
func (i *inspection) mayHaveSigned(mrz datagroup.MRZ) error {
	s := i.sod.Signer
	if s.DocumentTypes != nil && !slices.Contains(s.DocumentTypes, mrz.DocumentCode) {
		return fmt.Errorf("the signer may sign documents of type %v, this one is %s", s.DocumentTypes, mrz.DocumentCode)
	}
	if s.State != "" && s.State != mrz.Issuer {
		return fmt.Errorf("the signer belongs to %s, the document to %s", s.State, mrz.Issuer)
	}
	return nil
}

func sortedKeys[K uint16 | int](m map[K][]byte) []K {
	out := make([]K, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
