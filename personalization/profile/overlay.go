package profile

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Overlay makes what a person wants to have checked into a file system for
// Load: a folder of profiles as it is; a profile in such a folder, with its
// neighbours; or a profile by itself, which is put where its kind belongs. Files
// that it names, such as CAP files, are found in its own folder or the one above.
//
// only is the name under which problems tell of a single profile; empty for a
// folder.
func Overlay(name string) (fsys fs.FS, only string, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, "", fmt.Errorf("%s cannot be read: %w", name, err)
	}
	if info.IsDir() {
		for _, f := range folders {
			if d, err := os.Stat(filepath.Join(name, f)); err == nil && d.IsDir() {
				return os.DirFS(name), "", nil
			}
		}
		return nil, "", fmt.Errorf("%s has none of the folders chips, diversifications, applets, payments and products", name)
	}
	// A profile among others is checked with its neighbours.
	if parent := filepath.Dir(name); slices.Contains(folders, filepath.Base(parent)) {
		return os.DirFS(filepath.Dir(parent)), path.Join(filepath.Base(parent), filepath.Base(name)), nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, "", err
	}
	var head struct {
		Kind string `yaml:"kind"`
	}
	// A file that is no YAML at all is told as such by Load, wherever it stands.
	_ = yaml.Unmarshal(b, &head)
	folder := map[string]string{"diversification": "diversifications", "applet": "applets", "payment": "payments", "product": "products", "sim": "sims"}[head.Kind]
	if folder == "" {
		folder = "chips"
	}
	only = path.Join(folder, strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))+".yaml")
	return &oneFile{
		name: only, content: b,
		beside: []fs.FS{os.DirFS(filepath.Dir(name)), os.DirFS(filepath.Dir(filepath.Dir(name)))},
	}, only, nil
}

// oneFile shows Load one profile and not its neighbours.
type oneFile struct {
	name    string
	content []byte
	beside  []fs.FS
}

// Open finds what the profile names.
func (o *oneFile) Open(name string) (f fs.File, err error) {
	err = fs.ErrNotExist
	for _, other := range o.beside {
		if f, err = other.Open(name); err == nil {
			return f, nil
		}
	}
	return nil, err
}

// ReadFile gives the profile itself, or what it names.
func (o *oneFile) ReadFile(name string) (b []byte, err error) {
	if name == o.name {
		return o.content, nil
	}
	err = fs.ErrNotExist
	for _, other := range o.beside {
		if b, err = fs.ReadFile(other, name); err == nil {
			return b, nil
		}
	}
	return nil, err
}

// Glob finds the profile alone.
func (o *oneFile) Glob(pattern string) ([]string, error) {
	ok, err := path.Match(pattern, o.name)
	if !ok || err != nil {
		return nil, err
	}
	return []string{o.name}, nil
}
