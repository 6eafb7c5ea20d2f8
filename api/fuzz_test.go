package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cardbureau/api"
	"cardbureau/personalization/intake"
	"cardbureau/personalization/record"
)

// FuzzBatch sends anything as a stream of records. Each line that is not empty
// gets one answer, in order, that a client can read.
func FuzzBatch(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "\r\n\r\n", "a", "a\nb\n", "a\n\n\nb", "\uFEFFa\n", "{}\n[]\n\"x\"\n", "a.b.c\na.b.c.d.e", "eyJhbGciOiJFUzI1NiJ9.e30.AA\n", "eyJhbGciOiJFUzI1NiJ9.e30",
		"\x00\n\xff\xfe\n", strings.Repeat("A", 70) + "\nb\n", strings.Repeat(".", 64) + "\n", "<script>&\n",
	} {
		f.Add([]byte(seed))
	}
	c := stub{}.config()
	c.Limits.MaxLine = 64
	s, err := api.New(c)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", "/v1/records:batch", bytes.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+allKey)
		r.Header.Set("Content-Type", "application/x-ndjson")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("status %d", w.Code)
		}
		var want []int
		for l := range record.Lines(bytes.NewReader(body), c.Limits.MaxLine) {
			want = append(want, l.Number)
		}
		answers := bytes.Split(bytes.TrimSuffix(w.Body.Bytes(), []byte("\n")), []byte("\n"))
		if len(want) == 0 {
			answers = nil
			if w.Body.Len() > 0 {
				t.Fatalf("answers to nothing: %q", w.Body.Bytes())
			}
		}
		if len(answers) != len(want) {
			t.Fatalf("%d answers for %d lines", len(answers), len(want))
		}
		for i, a := range answers {
			var l api.Line
			d := json.NewDecoder(bytes.NewReader(a))
			d.DisallowUnknownFields()
			if err := d.Decode(&l); err != nil {
				t.Fatalf("%q: %v", a, err)
			}
			if l.Line != want[i] || l.Status != intake.Refused || record.Describe(l.Code).Status == 0 || l.Detail == "" {
				t.Fatalf("line %d: %+v", want[i], l)
			}
		}
	})
}

// FuzzAuthorization: no header makes the server look up what cannot be a key,
// and none but the right one gets in.
func FuzzAuthorization(f *testing.F) {
	for _, seed := range []string{"", "Bearer", "Bearer ", "Bearer  x", "bearer " + allKey, "Basic eDp5", "Bearer a,b", "Bearer \"x\"", "Bearer \x00", "Bearer " + allKey + " "} {
		f.Add(seed)
	}
	s, err := api.New(stub{}.config())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest("GET", "/v1/orders/1", nil)
		r.Header["Authorization"] = []string{header}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		scheme, token, _ := strings.Cut(header, " ")
		want := http.StatusUnauthorized
		if strings.EqualFold(scheme, "bearer") && strings.Trim(token, " ") == allKey {
			want = http.StatusNotFound
		}
		if w.Code != want {
			t.Errorf("%q: %d", header, w.Code)
		}
	})
}
