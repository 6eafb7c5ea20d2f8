package uicc

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Kind is a kind of SIM, as a profile says it: who gave it out, and what may be written
// to it. It is data; see firmware-profiles/sims.
type Kind struct {
	Kind  string `yaml:"kind"` // sim
	Name  string `yaml:"name"`
	Title string `yaml:"title"`
	// Programming are the files that are written to a blank, in their order; none: the
	// card is its operator's, read and asked to authenticate only.
	Programming []SIMFile `yaml:"programming"`
	// ADM is the reference of the key behind which they are written.
	ADM int `yaml:"adm"`
	// Algorithms are those that a blank can be programmed for: milenage, tuak; none:
	// milenage.
	Algorithms []string `yaml:"algorithms"`
	// ATRs are patterns of answers to reset, hexadecimal with ? for any digit; none:
	// any.
	ATRs []string `yaml:"atrs"`
}

// SIMFile is a file that is programmed.
type SIMFile struct {
	Path string `yaml:"path"` // from the master file: 7FFF/AF20, A515/6F20
	// Application is isim where 7FFF is the ISIM's: a card without one has no such file,
	// and it is left alone. Otherwise 7FFF is the USIM's.
	Application string `yaml:"application"`
	Record      int    `yaml:"record"` // of a record file, from 1; 0: a transparent file
	Value       string `yaml:"value"`  // imsi, msisdn, spn, acc, ad, home-network, keys, tuak, ota, impi, impu, domain
	// Prefix stands before the value, hexadecimal: of keys the byte that says the
	// algorithm and that OPc follows.
	Prefix string `yaml:"prefix"`
	// Offset is where a transparent file is written from.
	Offset int `yaml:"offset"`
	// If names a value without which the file is left alone: spn, msisdn, ota; or the
	// subscription's algorithm, milenage or tuak.
	If string `yaml:"if"`
	// SecurityDomain, KeySet and Key say which key over the air a record of value ota
	// has: the domain as the card numbers it, the set from 1, and kic, kid or kik. The
	// record is the one that has this key already, or else the first free one; Record
	// names it on a card that lets nobody read them.
	SecurityDomain *int   `yaml:"security-domain"` // nil: not said
	KeySet         int    `yaml:"key-set"`
	Key            string `yaml:"key"`
	// Algorithm is for what the key is, des or aes; des when empty. MAC is the length
	// in bytes of the checksums that it makes, 8 or 4; 8 when 0.
	Algorithm string `yaml:"algorithm"`
	MAC       int    `yaml:"mac"`
}

// applicationISIM is SIMFile.Application for files of the ISIM.
const applicationISIM = "isim"

// Algorithms of Kind and of SIMFile.If.
const (
	Milenage = "milenage"
	TUAK     = "tuak"
)

var (
	pathForm   = regexp.MustCompile(`^[0-9A-F]{4}(/[0-9A-F]{4})+$`)
	atrForm    = regexp.MustCompile(`^([0-9A-F?]{2})+$`)
	values     = []string{"imsi", "msisdn", "spn", "acc", "ad", "home-network", "keys", TUAK, "ota", "impi", "impu", "domain"}
	conditions = []string{"", "spn", "msisdn", "ota", Milenage, TUAK}
)

// Check says what a kind lacks, in one sentence.
func (k *Kind) Check() error {
	if k.Name == "" || k.Title == "" {
		return errors.New("a kind of SIM has a name and a title")
	}
	if len(k.Programming) > 0 && (k.ADM < 1 || k.ADM > 0xFF) {
		return fmt.Errorf("kind %s: files are programmed behind an administrative key: adm is its reference, 10 for ADM1", k.Name)
	}
	for _, a := range k.ATRs {
		if !atrForm.MatchString(a) {
			return fmt.Errorf("kind %s: %q is no pattern of an answer to reset", k.Name, a)
		}
	}
	for _, a := range k.Algorithms {
		if a != Milenage && a != TUAK {
			return fmt.Errorf("kind %s: algorithm %q is neither milenage nor tuak", k.Name, a)
		}
	}
	for i, f := range k.Programming {
		at := fmt.Sprintf("kind %s, programming[%d]", k.Name, i)
		prefix, err := hex.DecodeString(f.Prefix)
		switch {
		case !pathForm.MatchString(f.Path):
			return fmt.Errorf("%s: %q is no path from the master file, such as 7FFF/6F07", at, f.Path)
		case strings.HasSuffix(f.Path, "2FE2"):
			return fmt.Errorf("%s: the ICCID is never written: it says which card this is", at)
		case !programmable(f.Path):
			return fmt.Errorf("%s: file %s is neither on the list of what may be touched nor the maker's own", at, f.Path)
		case !slices.Contains(values, f.Value):
			return fmt.Errorf("%s: value %q is none of %s", at, f.Value, strings.Join(values, ", "))
		case err != nil || len(prefix) > 16:
			return fmt.Errorf("%s: prefix %q is not in hexadecimal digits", at, f.Prefix)
		case !slices.Contains(conditions, f.If):
			return fmt.Errorf("%s: if %q is none of spn, msisdn, ota, milenage, tuak", at, f.If)
		case f.Value == TUAK && f.If != TUAK || f.Value == "keys" && f.If == TUAK || f.If == TUAK && !k.Has(TUAK):
			return fmt.Errorf("%s: keys for TUAK are the value tuak, if: tuak, of a kind that has this algorithm", at)
		case f.Value == "keys" && f.If != Milenage && k.Has(TUAK):
			return fmt.Errorf("%s: a kind with several algorithms writes keys if: milenage", at)
		case f.Value == "ota" && !f.isKey():
			return fmt.Errorf("%s: a key over the air has security-domain 0 to 255, key-set 1 to 3, key kic, kid or kik, algorithm des or aes, mac 4 or 8, and no offset or prefix", at)
		case f.Value != "ota" && (f.SecurityDomain != nil || f.KeySet != 0 || f.Key != "" || f.Algorithm != "" || f.MAC != 0):
			return fmt.Errorf("%s: security-domain, key-set, key, algorithm and mac are of the value ota", at)
		case f.Application != "" && (f.Application != applicationISIM || !strings.HasPrefix(f.Path, dirADF+"/")):
			return fmt.Errorf("%s: application is isim, for a path that begins with 7FFF, or nothing", at)
		case slices.Contains([]string{"impi", "impu", "domain"}, f.Value) && f.Application != applicationISIM:
			return fmt.Errorf("%s: %s is of the ISIM: application: isim", at, f.Value)
		case f.Record < 0 || f.Offset < 0 || f.Record > 0 && f.Offset > 0:
			return fmt.Errorf("%s: record and offset are of different kinds of files", at)
		}
	}
	return nil
}

// Has reports whether blanks of the kind can be programmed for an algorithm.
func (k *Kind) Has(algorithm string) bool {
	return slices.Contains(k.Algorithms, algorithm) || len(k.Algorithms) == 0 && algorithm == Milenage
}

// WantsOTA reports whether the kind demands keys for messages over the air.
func (k *Kind) WantsOTA() bool {
	return slices.ContainsFunc(k.Programming, func(f SIMFile) bool { return f.Value == "ota" && f.If == "" })
}

// Fits reports whether an answer to reset is one of the kind's.
func (k *Kind) Fits(atr []byte) bool {
	text := strings.ToUpper(hex.EncodeToString(atr))
	for _, pattern := range k.ATRs {
		fits := len(pattern) == len(text)
		for i := 0; fits && i < len(text); i++ {
			fits = pattern[i] == '?' || pattern[i] == text[i]
		}
		if fits {
			return true
		}
	}
	return len(k.ATRs) == 0
}
