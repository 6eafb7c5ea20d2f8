package emv

import (
	"bytes"

	"cardbureau/cardio/tlv"
)

// FCI is what SELECT answers with (Book 1, section 11.3.4).
type FCI struct {
	Name      []byte // 84, dedicated file name
	Label     string // 50
	Preferred string // 9F12
	Priority  byte   // 87: 1 highest, 15 lowest, 0 none; bit 80: ask the holder first
	PDOL      []byte // 9F38
	Language  string // 5F2D
	CodeTable byte   // 9F11
	SFI       byte   // 88, of PSE's directory
	LogEntry  []byte // 9F4D
	Directory []DirectoryEntry
}

// DirectoryEntry is one application that PSE or PPSE lists (Book 1, table 13; Book
// B, table 3-3).
type DirectoryEntry struct {
	AID       []byte
	Label     string
	Preferred string
	Priority  byte
	Kernel    []byte // 9F2A, of PPSE
}

// ParseFCI reads file control information: template 6F with 84 and A5.
func ParseFCI(b []byte) (FCI, error) {
	var f FCI
	o, rest, err := tlv.Next(b)
	if err != nil || o.Tag != TagFCI || len(rest) > 0 {
		return f, format("the answer to SELECT is no file control information")
	}
	outer, err := objects(o.Value, "file control information")
	if err != nil {
		return f, err
	}
	if f.Name = outer[TagDFName]; f.Name == nil {
		return f, format("the file control information has no dedicated file name (84)")
	}
	proprietary, ok := outer[TagProprietary]
	if !ok {
		return f, format("the file control information has no proprietary template (A5)")
	}
	inner, err := objects(proprietary, "the proprietary template of file control information")
	if err != nil {
		return f, err
	}
	f.Label, f.Preferred, f.Language = string(inner[TagLabel]), string(inner[TagPreferredName]), string(inner[TagLanguage])
	f.PDOL, f.Priority = inner[TagPDOL], first(inner[TagPriority])
	f.CodeTable, f.SFI = first(inner[TagIssuerCodeTable]), first(inner[TagSFI])
	discretionary, err := tlv.Parse(inner[TagDiscretionary])
	if err != nil {
		return f, format("the issuer discretionary data of file control information")
	}
	for _, o := range discretionary {
		switch o.Tag {
		case TagLogEntry:
			f.LogEntry = bytes.Clone(o.Value)
		case TagApplicationTemplate:
			entry, err := directoryEntry(o.Value)
			if err != nil {
				return f, err
			}
			f.Directory = append(f.Directory, entry)
		}
	}
	return f, nil
}

// ParseDirectory reads a record of PSE's directory: template 70 with entries 61
// (Book 1, section 12.2.3). Entries that lead to further directories (DDF) are
// passed over, as EMV 4.3 has it.
func ParseDirectory(record []byte) ([]DirectoryEntry, error) {
	o, rest, err := tlv.Next(record)
	if err != nil || o.Tag != TagRecord || len(rest) > 0 {
		return nil, format("a directory record is no template 70")
	}
	list, err := tlv.Parse(o.Value)
	if err != nil {
		return nil, format("a directory record")
	}
	var out []DirectoryEntry
	for _, o := range list {
		if o.Tag != TagApplicationTemplate {
			return nil, format("a directory record holds tag %X", uint32(o.Tag))
		}
		if _, ok := tlv.Find(o.Value, TagADF); !ok {
			continue
		}
		entry, err := directoryEntry(o.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, entry)
	}
	return out, nil
}

func directoryEntry(b []byte) (DirectoryEntry, error) {
	d, err := objects(b, "a directory entry")
	if err != nil {
		return DirectoryEntry{}, err
	}
	if d[TagADF] == nil {
		return DirectoryEntry{}, format("a directory entry has no application identifier (4F)")
	}
	return DirectoryEntry{AID: d[TagADF], Label: string(d[TagLabel]), Preferred: string(d[TagPreferredName]),
		Priority: first(d[TagPriority]), Kernel: d[0x9F2A]}, nil
}

// objects are the data objects of a template, each at most once.
func objects(b []byte, what string) (Data, error) {
	list, err := tlv.Parse(b)
	if err != nil {
		return nil, format("%s: %v", what, err)
	}
	out := Data{}
	for _, o := range list {
		if err := out.add(o); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func first(b []byte) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}
