package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// maxDepth is more levels of nesting than the schema knows.
const maxDepth = 8

// errJSON is every fault of a payload before its schema is looked at.
var errJSON = errors.New("record: not one JSON object in UTF-8 without repeated names")

// parseTree reads one JSON object as I-JSON (RFC 7493): UTF-8, no repeated
// names, no lone surrogates; and, because the schema needs no other, integers
// of at most ten characters only. Repeated names are refused because readers
// disagree on which one counts, and a signature must mean one thing.
//
// The values are those of package jsonschema: map[string]any, []any, string,
// json.Number, bool, nil.
func parseTree(payload []byte) (map[string]any, error) {
	if !utf8.Valid(payload) {
		return nil, errJSON
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber()
	v, err := parseValue(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errJSON
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return nil, errJSON
	}
	return obj, nil
}

func parseValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errJSON
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, errJSON
	}
	switch t := tok.(type) {
	case string:
		if strings.ContainsRune(t, utf8.RuneError) {
			return nil, errJSON
		}
		return t, nil
	case json.Number:
		// Greater numbers and exponents would cost a validator that thinks in
		// fractions any amount of memory.
		if len(t) > 10 || strings.ContainsAny(string(t), ".eE") {
			return nil, errJSON
		}
		return t, nil
	case json.Delim:
		if t == '{' {
			return parseObject(dec, depth)
		}
		return parseArray(dec, depth)
	default: // bool, nil
		return t, nil
	}
}

func parseObject(dec *json.Decoder, depth int) (any, error) {
	obj := make(map[string]any, 8)
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, errJSON
		}
		name, ok := tok.(string)
		if !ok {
			return nil, errJSON
		}
		if _, twice := obj[name]; twice {
			return nil, errJSON
		}
		if obj[name], err = parseValue(dec, depth+1); err != nil {
			return nil, err
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, errJSON
	}
	return obj, nil
}

func parseArray(dec *json.Decoder, depth int) (any, error) {
	list := []any{}
	for dec.More() {
		v, err := parseValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	if _, err := dec.Token(); err != nil {
		return nil, errJSON
	}
	return list, nil
}
