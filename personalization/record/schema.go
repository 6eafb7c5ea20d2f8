package record

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

//go:embed verified-record.schema.json
var schemaJSON []byte

// SchemaJSON returns the JSON Schema (2020-12) of a record, as published to
// registries.
func SchemaJSON() []byte { return bytes.Clone(schemaJSON) }

// compiled is the schema with format and contentEncoding asserted, as its
// $comment demands.
var compiled = sync.OnceValue(func() *jsonschema.Schema {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaJSON))
	if err != nil {
		panic(fmt.Sprintf("record: the embedded schema is not JSON: %v", err))
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.AssertContent()
	// Checking the alphabet is enough here: reading the record decodes the text
	// once and for all, and refuses with the same code.
	c.RegisterContentEncoding(&jsonschema.Decoder{Name: "base64", Decode: checkBase64})
	const id = "urn:cardbureau:verified-record:1"
	if err := c.AddResource(id, doc); err != nil {
		panic(fmt.Sprintf("record: the embedded schema: %v", err))
	}
	return c.MustCompile(id)
})

var errBase64 = errors.New("not base64 (RFC 4648 section 4)")

// base64Char is true for the alphabet of RFC 4648 section 4 without padding.
var base64Char = func() (t [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = true
	}
	return t
}()

// checkBase64 checks length, alphabet and padding. Line breaks, which
// encoding/base64 overlooks, are not base64. It decodes nothing.
func checkBase64(s string) ([]byte, error) {
	if len(s)%4 != 0 {
		return nil, errBase64
	}
	body := s
	for n := 0; n < 2 && strings.HasSuffix(body, "="); n++ {
		body = body[:len(body)-1]
	}
	for i := range len(body) {
		if !base64Char[body[i]] {
			return nil, errBase64
		}
	}
	return nil, nil
}

// checkSchema validates a parsed payload. Its refusal names at most three places
// and rules, never a value.
func checkSchema(tree map[string]any) *Refusal {
	err := compiled().Validate(tree)
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return refuse(BadSchema, "")
	}
	const most = 3
	var places []string
	more := 0
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		for _, c := range e.Causes {
			walk(c)
		}
		if len(e.Causes) > 0 {
			return
		}
		if len(places) == most {
			more++
			return
		}
		places = append(places, "/"+strings.Join(e.InstanceLocation, "/")+": "+rule(e.ErrorKind))
	}
	walk(invalid)
	detail := strings.Join(places, "; ")
	if more > 0 {
		detail += fmt.Sprintf("; and %d more", more)
	}
	return refuse(BadSchema, detail)
}

// rule says in words which rule was broken. Names of missing members come from
// the schema; names of unknown members come from the sender and are not shown.
func rule(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Required:
		return "lacks " + strings.Join(k.Missing, ", ")
	case *kind.AdditionalProperties:
		return fmt.Sprintf("has %d member(s) that the schema does not know", len(k.Properties))
	case *kind.Type:
		return "must be of type " + strings.Join(k.Want, " or ")
	case *kind.Enum:
		return fmt.Sprintf("must be one of %v", k.Want)
	case *kind.Const:
		return fmt.Sprintf("must be %v", k.Want)
	case *kind.Format:
		return "must be a " + k.Want
	case *kind.Pattern:
		return "must match " + k.Want
	case *kind.MinLength:
		return fmt.Sprintf("must have at least %d characters", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d characters", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d items", k.Want)
	case *kind.Minimum:
		return "must be at least " + k.Want.RatString()
	case *kind.Maximum:
		return "must be at most " + k.Want.RatString()
	case *kind.ContentEncoding:
		return "must be " + k.Want
	}
	return "does not follow the schema"
}
