package profile

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	profiles "cardbureau/firmware-profiles"
)

// TestSchema: the schema that editors get accepts every shipped profile and the
// invented dialect, refuses a mistyped key, and is the one that is shipped.
func TestSchema(t *testing.T) {
	b, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(append(b, '\n'), profiles.Schema) {
		t.Error("firmware-profiles/schema.json is not what the types say: make it anew with cardbureau profile schema")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(text []byte) error {
		j, err := yaml.YAMLToJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(j, &v); err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	n := 0
	for _, f := range []fs.FS{profiles.FS, os.DirFS("testdata/dialect")} {
		for _, dir := range folders {
			names, _ := fs.Glob(f, dir+"/*.yaml")
			for _, name := range names {
				text, err := fs.ReadFile(f, name)
				if err != nil {
					t.Fatal(err)
				}
				if err := validate(text); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				n++
				if validate([]byte(strings.Replace(string(text), "title:", "tittle:", 1))) == nil {
					t.Errorf("%s: a mistyped key was taken", name)
				}
			}
		}
	}
	if n < 8 {
		t.Errorf("only %d profiles were looked at", n)
	}
}
