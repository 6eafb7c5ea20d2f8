package profile

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// manifest is what custodians sign: the SHA-256 digest of every file that was read.
type manifest struct {
	Profiles map[string]string `json:"profiles"`
}

// Manifest lists every file that was read with its SHA-256 digest, as JSON with sorted
// names: what a signature over the profiles covers.
func (s *Set) Manifest() ([]byte, error) {
	m := manifest{Profiles: map[string]string{}}
	for name, d := range s.Digests {
		m.Profiles[name] = hex.EncodeToString(d[:])
	}
	return json.Marshal(m)
}

// CheckManifest compares a signed manifest with the files in use. The error
// names the files that differ.
func (s *Set) CheckManifest(signed []byte) error {
	var m manifest
	if err := json.Unmarshal(signed, &m); err != nil {
		return fmt.Errorf("the signed list of profiles cannot be read: %w", err)
	}
	var wrong []string
	for name, d := range s.Digests {
		switch have, ok := m.Profiles[name]; {
		case !ok:
			wrong = append(wrong, name+" is new")
		case have != hex.EncodeToString(d[:]):
			wrong = append(wrong, name+" was changed")
		}
	}
	for name := range m.Profiles {
		if _, ok := s.Digests[name]; !ok {
			wrong = append(wrong, name+" is gone")
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return fmt.Errorf("the profiles are not those that were signed: %s", strings.Join(wrong, ", "))
}
