// Package kinds reads the kinds of SIMs that a folder of profiles describes, the files
// sims/*.yaml, and checks them. It knows the form of the files and no card; what a kind
// means is package uicc's.
package kinds

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/goccy/go-yaml"

	"cardbureau/cardio/uicc"
)

// ErrProfile marks a file that describes no kind of SIM.
var ErrProfile = errors.New("no profile of a SIM")

// maxFile is how long a file may be, bytes.
const maxFile = 1 << 16

// Load reads sims/*.yaml and gives the kinds by their names. Every file must be right:
// fields that nobody knows, a name that is not the file's, and what uicc.Kind.Check
// finds are errors that match ErrProfile and name the file.
func Load(fsys fs.FS) (map[string]*uicc.Kind, error) {
	names, err := fs.Glob(fsys, "sims/*.yaml")
	if err != nil {
		return nil, err
	}
	out := map[string]*uicc.Kind{}
	for _, name := range names {
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		k, err := Parse(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if k.Name != strings.TrimSuffix(path.Base(name), ".yaml") {
			return nil, fmt.Errorf("%s: %w: it says that its name is %q", name, ErrProfile, k.Name)
		}
		out[k.Name] = k
	}
	return out, nil
}

// Parse reads one kind. Errors match ErrProfile.
func Parse(b []byte) (*uicc.Kind, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrProfile, maxFile)
	}
	var file struct {
		What string    `yaml:"kind"`
		SIM  uicc.Kind `yaml:",inline"`
	}
	if err := yaml.UnmarshalWithOptions(b, &file, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProfile, err)
	}
	if file.What != "sim" {
		return nil, fmt.Errorf("%w: kind is %q, not sim", ErrProfile, file.What)
	}
	if err := file.SIM.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProfile, err)
	}
	return &file.SIM, nil
}
