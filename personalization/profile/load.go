package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Problem is one mistake in a profile, with the place where it stands.
type Problem struct {
	File      string
	Line, Col int
	Message   string
}

// Error makes a problem an error of its own.
func (p *Problem) Error() string { return p.String() }

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Col, p.Message)
}

// Problems is every mistake found, as one error.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Set is a checked collection of profiles.
type Set struct {
	Chips    map[string]*Chip
	Applets  map[string]*Applet
	Products map[string]*Product
}

// Load reads chips/, applets/ and products/ from each file system; a file of
// a later one replaces the profile of the same kind and name of an earlier
// one. It returns Problems when any profile has a mistake.
func Load(fsys ...fs.FS) (*Set, error) {
	s := &Set{Chips: map[string]*Chip{}, Applets: map[string]*Applet{}, Products: map[string]*Product{}}
	docs := map[string]*document{}
	var problems Problems
	for _, f := range fsys {
		for _, dir := range []string{"chips", "applets", "products"} {
			names, err := fs.Glob(f, path.Join(dir, "*.yaml"))
			if err != nil {
				return nil, fmt.Errorf("profiles: %w", err)
			}
			sort.Strings(names)
			for _, name := range names {
				b, err := fs.ReadFile(f, name)
				if err != nil {
					return nil, fmt.Errorf("profile %s: %w", name, err)
				}
				d, err := s.add(name, b)
				if err != nil {
					problems = append(problems, asProblems(name, err)...)
					continue
				}
				docs[name] = d
			}
		}
	}
	problems = append(problems, s.check(docs)...)
	if len(problems) > 0 {
		return nil, problems
	}
	return s, nil
}

// document keeps a file's syntax tree to tell where a mistake stands.
type document struct {
	file string
	root ast.Node
}

// at finds the place of a path such as $.steps[2].store; a path that is not
// there gives the place of its parent.
func (d *document) at(p string) (line, col int) {
	for p != "" && p != "$" {
		if yp, err := yaml.PathString(p); err == nil {
			if n, err := yp.FilterNode(d.root); err == nil && n != nil {
				pos := n.GetToken().Position
				return pos.Line, pos.Column
			}
		}
		cut := strings.LastIndexAny(p, ".[")
		if cut < 0 {
			break
		}
		p = p[:cut]
	}
	return 1, 1
}

func (d *document) problem(p, format string, args ...any) Problem {
	line, col := d.at(p)
	return Problem{File: d.file, Line: line, Col: col, Message: fmt.Sprintf(format, args...)}
}

func (s *Set) add(name string, b []byte) (*document, error) {
	parsed, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, err
	}
	if len(parsed.Docs) != 1 || parsed.Docs[0].Body == nil {
		return nil, errors.New("the file must hold one YAML document")
	}
	var head struct {
		Kind string `yaml:"kind"`
	}
	if err := yaml.Unmarshal(b, &head); err != nil {
		return nil, err
	}
	strict := func(v any) error { return yaml.UnmarshalWithOptions(b, v, yaml.Strict()) }
	switch head.Kind {
	case "chip":
		c := &Chip{file: name}
		if err := strict(c); err != nil {
			return nil, err
		}
		s.Chips[c.Name] = c
	case "applet":
		a := &Applet{file: name}
		if err := strict(a); err != nil {
			return nil, err
		}
		s.Applets[a.Name] = a
	case "product":
		p := &Product{file: name}
		if err := strict(p); err != nil {
			return nil, err
		}
		s.Products[p.Name] = p
	default:
		return nil, fmt.Errorf("kind is %q: it must be chip, applet or product", head.Kind)
	}
	return &document{file: name, root: parsed.Docs[0].Body}, nil
}

// asProblems turns a YAML library error into problems with a place.
func asProblems(file string, err error) Problems {
	p := Problem{File: file, Message: err.Error()}
	var placed *Problem
	var ye yaml.Error
	if errors.As(err, &placed) {
		placed.File = file
		return Problems{*placed}
	} else if errors.As(err, &ye) {
		p.Message = ye.GetMessage()
		if t := ye.GetToken(); t != nil && t.Position != nil {
			p.Line, p.Col = t.Position.Line, t.Position.Column
		}
	}
	return Problems{p}
}

// ProductChip returns the chip of a product.
func (s *Set) ProductChip(p *Product) *Chip { return s.Chips[p.Chip] }

// Identify finds the chip profile that an answer to reset and the
// fabricator and type fields of the CPLC fit.
func (s *Set) Identify(atr, fabricator, icType []byte) (*Chip, error) {
	var found []*Chip
	for _, c := range s.Chips {
		if c.ATR.Match(atr) && (len(c.CPLC.Fabricator) == 0 || string(c.CPLC.Fabricator) == string(fabricator)) &&
			(len(c.CPLC.Type) == 0 || string(c.CPLC.Type) == string(icType)) {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("no chip profile fits the card (ATR %X, CPLC fabricator %X, type %X): add one under firmware-profiles/chips", atr, fabricator, icType)
	case 1:
		return found[0], nil
	}
	names := make([]string, len(found))
	for i, c := range found {
		names[i] = c.Name
	}
	sort.Strings(names)
	return nil, fmt.Errorf("chip profiles %s all fit the card: make their atr or cplc narrower", strings.Join(names, ", "))
}
