package profile

import (
	"encoding/json"
	"reflect"
	"slices"

	"cardbureau/cardio/uicc"
	"cardbureau/personalization/payment"
)

// Schema is a JSON Schema (draft 2020-12) of the profile language, for editors:
// they complete keys and underline what is not known while a person types. It
// is made from the types that profiles are read into, so it knows no more and
// no less; what depends on other files is told by Load alone.
func Schema() ([]byte, error) {
	b := schemaBuilder{defs: map[string]any{}}
	kinds := map[string]reflect.Type{
		"chip": reflect.TypeFor[Chip](), "diversification": reflect.TypeFor[Diversification](),
		"applet": reflect.TypeFor[Applet](), "product": reflect.TypeFor[Product](), "payment": reflect.TypeFor[payment.Scheme](), "sim": reflect.TypeFor[uicc.Kind](),
	}
	var one []any
	for _, kind := range keys(kinds) {
		s := b.object(kinds[kind])
		s["properties"].(map[string]any)["kind"] = map[string]any{"const": kind}
		s["required"] = []string{"kind", "name"}
		one = append(one, s)
	}
	return json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Firmware profile", "oneOf": one, "$defs": b.defs,
	}, "", "  ")
}

// choices are the words that a key may have, by type and key.
func choices(t reflect.Type, key string) []string {
	switch {
	case t == reflect.TypeFor[Step]() && key == "kind":
		return []string{"repeatable", "resumable", "final"}
	case t == reflect.TypeFor[Step]() && key == "prove":
		return []string{ProveEMV, ProveLDS, ProveLocked}
	case t == reflect.TypeFor[KeySet]() && key == "type":
		return []string{"aes", "3des"}
	case t == reflect.TypeFor[KeySet]() && key == "data":
		return []string{"initialize-update", DataCPLC}
	case key == "protocol":
		return keys(protocols)
	case t == reflect.TypeFor[SetStatus]() && key == "card", key == "card-state":
		return keys(cardStates)
	case key == "chipProof":
		return []string{"active-authentication", "chip-authentication", ProofNone, ProofOffline}
	case key == "coercivity":
		return []string{"high", "low"}
	case t == reflect.TypeFor[payment.Scheme]() && key == "expiry":
		return []string{"lifetime", "residence"}
	case t == reflect.TypeFor[Diversification]() && key == "cipher":
		return []string{"none", "3des-ecb", "aes-ecb", "aes-cmac"}
	}
	return nil
}

type schemaBuilder struct{ defs map[string]any }

// of is the schema of a type; named structs stand once, under $defs.
func (b *schemaBuilder) of(t reflect.Type) map[string]any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == typeHex || t == typePlainHex:
		return map[string]any{"type": "string", "pattern": "^([0-9A-Fa-f]{2}[ :]*)*$"}
	case t == reflect.TypeFor[Pattern]():
		return map[string]any{"type": "string", "pattern": "^([0-9A-Fa-f]{2}| |\\.\\.)*$"}
	case t == typeValue || t == typeField:
		// 0102 without quotes is a number to YAML.
		return map[string]any{"type": []string{"string", "integer"}}
	case t == typeDuration:
		return map[string]any{"type": "string", "pattern": "^[0-9.]+(ns|us|µs|ms|s)$"}
	case t.Kind() == reflect.Struct && t.Name() == "":
		return b.object(t)
	case t.Kind() == reflect.Struct:
		if b.defs[t.Name()] == nil {
			b.defs[t.Name()] = map[string]any{} // a type may hold itself
			b.defs[t.Name()] = b.object(t)
		}
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	case t.Kind() == reflect.Slice:
		return map[string]any{"type": "array", "items": b.of(t.Elem())}
	case t.Kind() == reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": b.of(t.Elem())}
	case t.Kind() == reflect.Bool:
		return map[string]any{"type": "boolean"}
	case slices.Contains([]reflect.Kind{reflect.Int, reflect.Int64, reflect.Uint8}, t.Kind()):
		return map[string]any{"type": "integer"}
	}
	return map[string]any{"type": "string"}
}

func (b *schemaBuilder) object(t reflect.Type) map[string]any {
	properties := map[string]any{}
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("yaml")
		if key == "" || key == "-" {
			continue
		}
		s := b.of(f.Type)
		if words := choices(t, key); words != nil {
			s = map[string]any{"enum": words}
		}
		if key == "quirks" {
			kind := map[bool]string{true: "chip", false: "applet"}[t == reflect.TypeFor[Chip]()]
			s = map[string]any{"type": "array", "items": map[string]any{"enum": keys(quirksOf[kind])}}
		}
		properties[key] = s
	}
	return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
}
