package profile

import (
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"cardbureau/personalization/payment"
)

// shape compares a YAML tree with the Go type that it is to be read into, and
// tells every key that is not known and every scalar that cannot be read: a
// decoder would stop at the first.
func (d *document) shape(t reflect.Type) (out Problems) {
	w := shaper{file: d.file}
	w.node(d.root, t, "")
	return w.out
}

type shaper struct {
	file string
	out  Problems
}

func (w *shaper) bad(n ast.Node, format string, args ...any) {
	pos := n.GetToken().Position
	w.out = append(w.out, Problem{File: w.file, Line: pos.Line, Col: pos.Column, Message: fmt.Sprintf(format, args...)})
}

var (
	typeHex      = reflect.TypeFor[Hex]()
	typePlainHex = reflect.TypeFor[payment.Hex]()
	typeValue    = reflect.TypeFor[Value]()
	typeField    = reflect.TypeFor[Field]()
	typeDuration = reflect.TypeFor[time.Duration]()
)

func (w *shaper) node(n ast.Node, t reflect.Type, key string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch v := n.(type) {
	case *ast.AnchorNode:
		w.node(v.Value, t, key)
		return
	case *ast.AliasNode, *ast.NullNode, nil:
		return
	case *ast.TagNode:
		w.bad(n, "%s: YAML tags such as %s have no place in a profile", key, v.Start.Value)
		return
	}
	switch {
	case t == typeHex || t == typePlainHex || t == typeValue || t == typeField || t == typeDuration:
		w.scalar(n, t, key)
	case t.Kind() == reflect.Struct:
		w.mapping(n, key, func(k string) (reflect.Type, []string) { return fieldOf(t, k) })
	case t.Kind() == reflect.Map:
		w.mapping(n, key, func(string) (reflect.Type, []string) { return t.Elem(), nil })
	case t.Kind() == reflect.Slice:
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			w.bad(n, "%s is a list: write each entry after a dash, or all between square brackets", key)
			return
		}
		for _, e := range list.Values {
			w.node(e, t.Elem(), key)
		}
	default:
		w.scalar(n, t, key)
	}
}

// mapping walks the entries of a mapping.
func (w *shaper) mapping(n ast.Node, key string, typeOf func(string) (reflect.Type, []string)) {
	var entries []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		entries = m.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{m}
	default:
		w.bad(n, "%s has keys of its own: write them below it, or between braces", orFile(key))
		return
	}
	for _, e := range entries {
		k := e.Key.GetToken().Value
		if k == "<<" {
			continue // merged from an anchor, which is looked at where it stands
		}
		t, known := typeOf(k)
		if t == nil {
			w.bad(e.Key, "%s has no key %q%s", orFile(key), k, suggest(k, known))
			continue
		}
		w.node(e.Value, t, k)
	}
}

func orFile(key string) string {
	if key == "" {
		return "the profile"
	}
	return key
}

// fieldOf is the type of a struct's field by its YAML name, with all names.
func fieldOf(t reflect.Type, key string) (reflect.Type, []string) {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		if name == "" {
			continue
		}
		if name == key {
			return f.Type, nil
		}
		names = append(names, name)
	}
	return nil, names
}

// scalar reads one value by itself, to tell what is wrong with it.
func (w *shaper) scalar(n ast.Node, t reflect.Type, key string) {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode:
		w.bad(n, "%s is a single value", key)
		return
	}
	// A number without quotes would be read as decimal before anyone sees that
	// it was meant as hexadecimal digits.
	if _, number := n.(*ast.StringNode); t == typeHex && !number {
		w.bad(n, "%s: put hexadecimal digits in quotes", key)
		return
	}
	v := reflect.New(t)
	if err := yaml.NodeToValue(n, v.Interface()); err != nil {
		for _, p := range asProblems(w.file, err) {
			if strings.HasPrefix(p.Message, "cannot unmarshal") || strings.Contains(p.Message, "overflow") || t == typeDuration {
				p.Message = fmt.Sprintf("%s: %q is no %s", key, n.GetToken().Value, wanted(t))
			}
			if p.Line == 0 {
				pos := n.GetToken().Position
				p.Line, p.Col = pos.Line, pos.Column
			}
			w.out = append(w.out, p)
		}
	}
}

// wanted says what a scalar of a type looks like.
func wanted(t reflect.Type) string {
	switch {
	case t == typeDuration:
		return "time, such as 8ms or 85us"
	case t.Kind() == reflect.Uint8:
		return "number from 0x00 to 0xFF"
	case t.Kind() == reflect.Int:
		return "whole number"
	case t.Kind() == reflect.Bool:
		return "true or false"
	}
	return "single value"
}

// suggest names the known word that is nearest to a mistyped one.
func suggest(word string, known []string) string {
	sort.Strings(known)
	best, bestDistance := "", 1+max(2, len(word)/3)
	for _, k := range known {
		if d := distance(strings.ToLower(word), k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf(": did you mean %q?", best)
	case len(known) == 0:
		return ""
	case len(known) <= 20:
		return ": it may be " + strings.Join(known, ", ")
	}
	return ""
}

// distance is the Levenshtein distance of two short words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
