package api_test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"cardbureau/api"
	"cardbureau/personalization/record"
)

var update = flag.Bool("update", false, "write the tables of docs/api.md anew")

const docs = "../docs/api.md"

// table is the documentation of codes.
func table(codes []record.CodeInfo) string {
	var b strings.Builder
	b.WriteString("| Code | Status | Meaning |\n|---|---|---|\n")
	for _, c := range codes {
		fmt.Fprintf(&b, "| `%s` | %d %s | %s |\n", c.Code, c.Status, http.StatusText(c.Status), c.Sentence)
	}
	return b.String()
}

// TestDocumentation: the tables of docs/api.md are what the program says. Run
// go test ./api -run Documentation -update to write them anew.
func TestDocumentation(t *testing.T) {
	b, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	was := string(b)
	is := was
	for name, codes := range map[string][]record.CodeInfo{"records": record.Codes, "api": api.Classes} {
		begin, end := "<!-- begin codes: "+name+" -->\n", "<!-- end codes: "+name+" -->\n"
		i, j := strings.Index(is, begin), strings.Index(is, end)
		if i < 0 || j < i {
			t.Fatalf("%s has no table of codes named %s", docs, name)
		}
		is = is[:i+len(begin)] + table(codes) + is[j:]
	}
	if is == was {
		return
	}
	if !*update {
		t.Fatalf("%s is stale: run go test ./api -run Documentation -update", docs)
	}
	if err := os.WriteFile(docs, []byte(is), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestDocumentationNamesEveryRoute: and no other.
func TestDocumentationNamesEveryRoute(t *testing.T) {
	b, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, stub{}.config())
	for path, item := range object(s.doc.doc["paths"]) {
		for method := range object(item) {
			if route := strings.ToUpper(method) + " " + path; !strings.Contains(string(b), "`"+route+"`") {
				t.Errorf("%s does not name %s", docs, route)
			}
		}
	}
}
