package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"cardbureau/api"
)

// contract is the OpenAPI document as a client sees it.
type contract struct {
	doc      map[string]any
	compiler *jsonschema.Compiler
	mu       sync.Mutex
	schemas  map[string]*jsonschema.Schema
}

const docURL = "mem:///openapi.json"

func fetchContract(t testing.TB, s *server) *contract {
	t.Helper()
	resp, err := s.client.Get(s.http.URL + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	v, err := jsonschema.UnmarshalJSON(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	c := &contract{doc: v.(map[string]any), compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource(docURL, v); err != nil {
		t.Fatal(err)
	}
	return c
}

// at follows names through objects.
func at(v any, names ...string) any {
	for _, n := range names {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[n]
	}
	return v
}

func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// path finds the path of the document that an address belongs to.
func (c *contract) path(address string) string {
	for p := range object(c.doc["paths"]) {
		if regexp.MustCompile("^" + regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(p), "[^/]+") + "$").MatchString(address) {
			return p
		}
	}
	return ""
}

// check holds an answer against the document.
func (c *contract) check(t testing.TB, method, address string, a answer) {
	t.Helper()
	path := c.path(address)
	op := at(c.doc, "paths", path, strings.ToLower(method))
	if op == nil {
		return // not of the API: a 404 or 405
	}
	status := fmt.Sprint(a.status)
	if at(op, "responses", status) == nil {
		t.Errorf("%s %s answers %s, which the document does not say", method, path, status)
		return
	}
	ct, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || at(op, "responses", status, "content", ct) == nil {
		t.Errorf("%s %s answers %s as %q, which the document does not say", method, path, status, ct)
		return
	}
	pointer := "#/paths/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(path) + "/" + strings.ToLower(method) +
		"/responses/" + status + "/content/" + strings.ReplaceAll(ct, "/", "~1") + "/schema"
	switch {
	case strings.HasSuffix(ct, "ndjson"):
		for line := range bytes.Lines(a.body) {
			c.validate(t, pointer, line)
		}
	case strings.HasSuffix(ct, "json"):
		c.validate(t, pointer, a.body)
	}
}

func (c *contract) validate(t testing.TB, pointer string, body []byte) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	sch := c.schemas[pointer]
	if sch == nil {
		var err error
		if sch, err = c.compiler.Compile(docURL + strings.NewReplacer("{", "%7B", "}", "%7D").Replace(pointer)); err != nil {
			t.Fatal(err)
		}
		c.schemas[pointer] = sch
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Errorf("%s: %v", body, err)
		return
	}
	if err := sch.Validate(v); err != nil {
		t.Errorf("%s\n%v", body, err)
	}
}

// TestOpenAPI checks what OpenAPI 3.1.0 asks of a document (sections 4.8), as
// far as it applies here.
func TestOpenAPI(t *testing.T) {
	s := serve(t, stub{}.config())
	doc := s.doc.doc
	if doc["openapi"] != "3.1.0" || at(doc, "info", "title") != "cardbureau" || at(doc, "info", "version") == "" {
		t.Errorf("head: %v %v", doc["openapi"], doc["info"])
	}
	ids := map[string]bool{}
	var routes []string
	for path, item := range object(doc["paths"]) {
		for method, op := range object(item) {
			routes = append(routes, strings.ToUpper(method)+" "+path)
			id, _ := at(op, "operationId").(string)
			if id == "" || ids[id] || at(op, "summary") == nil {
				t.Errorf("%s %s: operationId %q", method, path, id)
			}
			ids[id] = true
			checkParameters(t, path, op)
			if method == "post" && (at(op, "requestBody", "required") != true || len(object(at(op, "requestBody", "content"))) == 0) {
				t.Errorf("%s: request body %v", id, at(op, "requestBody"))
			}
			checkResponses(t, id, op)
			checkSecurity(t, doc, id, op)
		}
	}
	slices.Sort(routes)
	want := []string{"GET /metrics", "GET /v1/bank/awaiting", "GET /v1/bank/cards/{token}/{sequence}/binding",
		"GET /v1/bank/cards/{token}/{sequence}/status", "GET /v1/bank/events", "GET /v1/health", "GET /v1/intake-key", "GET /v1/orders/{id}",
		"POST /v1/bank/arqc", "POST /v1/bank/assignments", "POST /v1/bank/bindings:verify", "POST /v1/bank/match", "POST /v1/bank/withdrawals",
		"POST /v1/operators/{operator}/callbacks", "POST /v1/records", "POST /v1/records:batch"}
	if d := cmp.Diff(want, routes); d != "" {
		t.Error(d)
	}
	schemas := slices.Sorted(maps.Keys(object(at(doc, "components", "schemas"))))
	if d := cmp.Diff([]string{"Answer", "BankAnswers", "BankEvents", "BindingQuestion", "Bound", "Cryptogram", "CryptogramVerdict", "Event", "Health", "Line",
		"MatchAnswer", "MatchQuestion", "NoticeAnswer", "Order", "Problem", "Receipt", "Status", "Verified", "Waiting", "WaitingOrders"}, schemas); d != "" {
		t.Error(d)
	}
	for _, name := range schemas {
		if _, err := s.doc.compiler.Compile(docURL + "#/components/schemas/" + name); err != nil {
			t.Errorf("schema %s: %v", name, err)
		}
	}
	checkReferences(t, doc, doc)
}

func checkParameters(t *testing.T, path string, op any) {
	named := regexp.MustCompile(`\{([a-z]+)\}`).FindAllStringSubmatch(path, -1)
	all, _ := at(op, "parameters").([]any)
	var params []any
	for _, p := range all {
		if at(p, "in") != "query" {
			params = append(params, p)
		} else if at(p, "name") == nil || at(p, "schema") == nil || at(p, "description") == nil {
			t.Errorf("%s: parameter %v", path, p)
		}
	}
	if len(params) != len(named) {
		t.Errorf("%s: %d parameters for %d names", path, len(params), len(named))
		return
	}
	for i, p := range params {
		if at(p, "in") != "path" || at(p, "name") != named[i][1] || at(p, "required") != true || at(p, "schema") == nil {
			t.Errorf("%s: parameter %v", path, p)
		}
	}
}

func checkResponses(t *testing.T, id string, op any) {
	responses := object(at(op, "responses"))
	if len(responses) < 2 {
		t.Errorf("%s: responses %v", id, responses)
	}
	for status, r := range responses {
		if !regexp.MustCompile(`^[2-5]\d\d$`).MatchString(status) || at(r, "description") == nil || at(r, "description") == "" {
			t.Errorf("%s: response %s: %v", id, status, r)
		}
		if status >= "4" && at(r, "content", "application/problem+json", "schema", "$ref") != "#/components/schemas/Problem" {
			t.Errorf("%s: response %s is no problem", id, status)
		}
	}
	if at(responses, "500") == nil {
		t.Errorf("%s: no word about 500", id)
	}
}

// checkSecurity holds the scopes that the document names against those that
// there are.
func checkSecurity(t *testing.T, doc map[string]any, id string, op any) {
	want := map[string]string{
		"postRecord": api.ScopeRecords, "postRecords": api.ScopeRecords, "getOrder": api.ScopeOrders, "getMetrics": api.ScopeMetrics,
		"assignAccounts": api.ScopeBankAccounts, "withdrawAccounts": api.ScopeBankAccounts, "listAwaiting": api.ScopeBankAccounts,
		"verifyCryptogram": api.ScopeBankVerify, "verifyBinding": api.ScopeBankVerify, "match": api.ScopeBankVerify, "getBinding": api.ScopeBankVerify,
		"getBankCard": api.ScopeBankStatus, "listBankEvents": api.ScopeBankStatus, "operatorCallback": api.ScopeOperator,
	}[id]
	reqs, _ := at(op, "security").([]any)
	if want == "" {
		if len(reqs) != 0 {
			t.Errorf("%s asks for a key", id)
		}
		return
	}
	if len(reqs) != 1 || !cmp.Equal(reqs[0], map[string]any{"bearer": []any{want}}) {
		t.Errorf("%s: security %v", id, reqs)
	}
	if at(doc, "components", "securitySchemes", "bearer", "type") != "http" || at(doc, "components", "securitySchemes", "bearer", "scheme") != "bearer" {
		t.Error("the scheme bearer is not defined")
	}
	if at(op, "responses", "401", "headers", "WWW-Authenticate") == nil || at(op, "responses", "403") == nil {
		t.Errorf("%s: no word about 401 and 403", id)
	}
}

// checkReferences follows every $ref.
func checkReferences(t *testing.T, doc map[string]any, v any) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			name, ok := strings.CutPrefix(ref, "#/")
			if !ok || at(doc, strings.Split(name, "/")...) == nil {
				t.Errorf("reference %q leads nowhere", ref)
			}
		}
		for _, e := range v {
			checkReferences(t, doc, e)
		}
	case []any:
		for _, e := range v {
			checkReferences(t, doc, e)
		}
	}
}

func TestOpenAPIYAMLSaysTheSame(t *testing.T) {
	s := serve(t, stub{}.config())
	var docs [2]any
	for i, name := range []string{"/openapi.json", "/openapi.yaml"} {
		resp, err := s.client.Get(s.http.URL + name)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d, %v", name, resp.StatusCode, err)
		}
		if i == 1 {
			if body, err = yaml.YAMLToJSON(body); err != nil {
				t.Fatal(err)
			}
		}
		if err := json.Unmarshal(body, &docs[i]); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(docs[0], docs[1]); d != "" {
		t.Error(d)
	}
}

// TestNothingFromElsewhere: no page of the server loads a script.
func TestNothingFromElsewhere(t *testing.T) {
	s := serve(t, stub{}.config())
	for _, p := range []string{"/", "/docs", "/schemas/Problem", "/openapi-3.0.json", "/debug/pprof/"} {
		s.get(p, "").expect(t, 404, api.NotFound)
	}
}
