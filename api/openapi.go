package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// document is the head of the OpenAPI document. Huma serves nothing by itself:
// its pages load scripts from elsewhere, and it renders the document anew while
// requests may be reading it.
func document(version string) huma.Config {
	if version == "" {
		version = "0"
	}
	c := huma.DefaultConfig("cardbureau", version)
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.CreateHooks = nil // no $schema links in answers
	c.Info.Description = "Takes signed records in and says how the orders for their cards stand."
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.Tags = []*huma.Tag{
		{Name: "records", Description: "Signed records on their way in."},
		{Name: "orders", Description: "Orders: one for each card to be made."},
		{Name: "bank", Description: "What the bank asks and tells. No answer holds a PAN, a track, a verification value, a PIN or a key."},
		{Name: "operators", Description: "What operators of SIMs tell. No answer holds a number of a SIM or a telephone."},
		{Name: "bureau", Description: "The bureau itself."},
	}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		bearerScheme: {Type: "http", Scheme: "bearer", Description: "A key that cardbureau api-key create made. The names in a requirement are the scopes that the key must have."},
	}
	return c
}

// schemaOf is a reference to the schema of a type.
func (s *Server) schemaOf(v any) *huma.Schema {
	return s.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(v), true, "")
}

func jsonContent(schema *huma.Schema) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{"application/json": {Schema: schema}}
}

// bodyOf documents a body that the handler reads by itself.
func (s *Server) bodyOf(description string, types ...string) *huma.RequestBody {
	b := &huma.RequestBody{Description: description, Required: true, Content: map[string]*huma.MediaType{}}
	for _, t := range types {
		b.Content[t] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	return b
}

// responses documents an operation's answers: the good ones, and a problem for
// each of the statuses.
func (s *Server) responses(good map[int]*huma.Response, bad ...int) map[string]*huma.Response {
	out := map[string]*huma.Response{}
	for status, r := range good {
		out[strconv.Itoa(status)] = r
	}
	for _, status := range bad {
		r := &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{problemJSON: {Schema: s.schemaOf(Problem{})}},
		}
		text := &huma.Schema{Type: huma.TypeString}
		switch status {
		case http.StatusUnauthorized:
			r.Headers = map[string]*huma.Param{"WWW-Authenticate": {Description: "RFC 6750 section 3.", Schema: text}}
		case http.StatusServiceUnavailable:
			r.Headers = map[string]*huma.Param{"Retry-After": {Description: "Seconds.", Schema: text}}
		}
		out[strconv.Itoa(status)] = r
	}
	return out
}

// documentRoutes renders the document, once all operations are registered, and
// serves it.
func (s *Server) documentRoutes() error {
	// Huma registers its own idea of an error, which no operation here has.
	schemas := s.huma.OpenAPI().Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	asJSON, err := json.Marshal(s.huma.OpenAPI())
	if err != nil {
		return fmt.Errorf("render the OpenAPI document: %w", err)
	}
	asYAML, err := s.huma.OpenAPI().YAML()
	if err != nil {
		return fmt.Errorf("render the OpenAPI document: %w", err)
	}
	serve := func(path, contentType string, body []byte) {
		s.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write(body) // a client that is gone cannot be told
		})
	}
	serve("/openapi.json", "application/openapi+json", asJSON)
	serve("/openapi.yaml", "application/openapi+yaml", asYAML)
	if s.config.BindingKeys != nil {
		serve("/.well-known/cardbureau/bank-jwks.json", "application/jwk-set+json", s.config.BindingKeys)
	}
	return nil
}
