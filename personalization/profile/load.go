package profile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"cardbureau/cardio/uicc"
	"cardbureau/personalization/payment"
)

// Problem is one mistake in a profile, with the place where it stands.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Col     int    `json:"column"`
	Message string `json:"message"`
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
	Chips            map[string]*Chip
	Diversifications map[string]*Diversification
	Applets          map[string]*Applet
	Products         map[string]*Product
	Payments         map[string]*payment.Scheme
	SIMs             map[string]*uicc.Kind

	// Digests are the SHA-256 digests of all files that were read, by place and
	// name: what a signature over the profiles covers.
	Digests map[string][32]byte

	broken map[string]bool   // names of profiles that could not be read
	named  map[string]string // file of each kind and name
	// unsound are chips and applets with a mistake.
	unsound map[string]bool
}

// folders are where the profiles of each kind stand.
var folders = []string{"chips", "diversifications", "applets", "payments", "products", "sims"}

// Load reads chips/, diversifications/, applets/, payments/, products/ and sims/ from each
// file system; a file of a later one replaces the profile of the same kind and name
// of an earlier one. It returns Problems when any profile has a mistake.
func Load(fsys ...fs.FS) (*Set, error) {
	s := &Set{
		Chips: map[string]*Chip{}, Diversifications: map[string]*Diversification{},
		Applets: map[string]*Applet{}, Products: map[string]*Product{}, Payments: map[string]*payment.Scheme{}, SIMs: map[string]*uicc.Kind{}, Digests: map[string][32]byte{}, broken: map[string]bool{}, named: map[string]string{}, unsound: map[string]bool{},
	}
	docs := map[string]*document{}
	var problems Problems
	for source, f := range fsys {
		for _, dir := range folders {
			names, err := fs.Glob(f, path.Join(dir, "*.yaml"))
			if err != nil {
				return nil, fmt.Errorf("profiles: %w", err)
			}
			sort.Strings(names)
			strays, err := fs.Glob(f, path.Join(dir, "*.yml"))
			if err != nil {
				return nil, fmt.Errorf("profiles: %w", err)
			}
			for _, name := range strays {
				problems = append(problems, Problem{File: name, Line: 1, Col: 1, Message: "the name of a profile ends in .yaml: this file is not read"})
			}
			for _, name := range names {
				b, err := fs.ReadFile(f, name)
				if err != nil {
					return nil, fmt.Errorf("profile %s: %w", name, err)
				}
				d, err := s.add(f, source, name, b)
				if err != nil {
					problems = append(problems, asProblems(name, err)...)
					continue
				}
				docs[sourced(source, name)] = d
				s.Digests[sourced(source, name)] = sha256.Sum256(b)
			}
		}
	}
	problems = append(problems, s.check(docs)...)
	if len(problems) > 0 {
		return nil, sorted(problems)
	}
	return s, nil
}

// sourced tells files of the same name in different places apart.
func sourced(source int, name string) string {
	if source == 0 {
		return "shipped/" + name
	}
	return path.Join(fmt.Sprintf("folder%d", source), name)
}

func sameSource(a, b string) bool {
	x, _, _ := strings.Cut(a, "/")
	y, _, _ := strings.Cut(b, "/")
	return x == y
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

// text is a scalar as it stands in the file; "" where there is none.
func (d *document) text(p string) string {
	yp, err := yaml.PathString(p)
	if err != nil {
		return ""
	}
	n, err := yp.FilterNode(d.root)
	if err != nil || n == nil {
		return ""
	}
	return n.GetToken().Value
}

func (d *document) problem(p, format string, args ...any) Problem {
	line, col := d.at(p)
	return Problem{File: d.file, Line: line, Col: col, Message: fmt.Sprintf(format, args...)}
}

func (s *Set) add(f fs.FS, source int, name string, b []byte) (*document, error) {
	parsed, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, err
	}
	if len(parsed.Docs) != 1 || parsed.Docs[0].Body == nil {
		return nil, errors.New("the file must hold one YAML document")
	}
	var head struct {
		Kind string `yaml:"kind"`
		Name string `yaml:"name"`
	}
	if err := yaml.NodeToValue(parsed.Docs[0].Body, &head); err != nil {
		return nil, err
	}
	d := &document{file: name, root: parsed.Docs[0].Body}
	key := sourced(source, name)
	into := map[string]func() any{
		"chip":            func() any { return &Chip{file: key} },
		"diversification": func() any { return &Diversification{file: key} },
		"applet":          func() any { return &Applet{file: key} },
		"product":         func() any { return &Product{file: key} },
		"payment":         func() any { return &payment.Scheme{} },
		"sim":             func() any { return &uicc.Kind{} },
	}[head.Kind]
	if into == nil {
		kinds := []string{"chip", "diversification", "applet", "payment", "product", "sim"}
		return nil, Problems{d.problem("$.kind", "kind %q is not known%s", head.Kind, suggest(head.Kind, kinds))}
	}
	v := into()
	if mistakes := d.shape(reflect.TypeOf(v)); len(mistakes) > 0 {
		s.broken[head.Name] = true
		return nil, mistakes
	}
	if err := yaml.NodeToValue(d.root, v, yaml.Strict()); err != nil {
		s.broken[head.Name] = true
		return nil, err
	}
	if before := s.named[head.Kind+" "+head.Name]; before != "" && sameSource(before, key) {
		return nil, Problems{d.problem("$.name", "%s %q is described in %s already", head.Kind, head.Name, before)}
	}
	s.named[head.Kind+" "+head.Name] = key
	switch v := v.(type) {
	case *Chip:
		s.Chips[v.Name] = v
	case *Diversification:
		s.Diversifications[v.Name] = v
	case *Applet:
		if v.Package.CAP != "" {
			if v.capFile, err = fs.ReadFile(f, v.Package.CAP); err != nil {
				return nil, Problems{d.problem("$.package.cap", "the CAP file cannot be read: %v", err)}
			}
			s.Digests[sourced(source, v.Package.CAP)] = sha256.Sum256(v.capFile)
		}
		s.Applets[v.Name] = v
	case *Product:
		s.Products[v.Name] = v
	case *payment.Scheme:
		s.Payments[v.Name] = v
	case *uicc.Kind:
		if err := v.Check(); err != nil {
			s.broken[head.Name] = true
			return nil, Problems{d.problem("$.name", "%v", err)}
		}
		s.SIMs[v.Name] = v
	}
	return d, nil
}

// asProblems turns a YAML library error into problems with a place.
func asProblems(file string, err error) Problems {
	p := Problem{File: file, Message: err.Error()}
	var (
		placed *Problem
		many   Problems
		ye     yaml.Error
	)
	if errors.As(err, &many) {
		return many
	} else if errors.As(err, &placed) {
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
