package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/api"
	"cardbureau/personalization/record"
)

func TestOneRecord(t *testing.T) {
	o := open(t)
	s := serve(t, o.config(t))
	key := o.keys["records,orders"]

	first := s.post(o.records[0], key)
	got := decode[api.Receipt](t, first)
	if first.status != http.StatusCreated || got.Status != "accepted" || got.OrderID == "" || got.RecordID == "" {
		t.Fatalf("%d %s", first.status, first.body)
	}
	if first.header.Get("Location") != "/v1/orders/"+got.OrderID {
		t.Errorf("Location %q", first.header.Get("Location"))
	}
	// With white space around it, as a file's last line has.
	again := s.do(s.request("POST", "/v1/records", key, "text/plain; charset=utf-8", strings.NewReader(o.records[0]+"\r\n")))
	known := decode[api.Receipt](t, again)
	if again.status != http.StatusOK || known.Status != "already-known" || known.OrderID != got.OrderID {
		t.Errorf("again: %d %s", again.status, again.body)
	}

	order := decode[api.Order](t, s.get(first.header.Get("Location"), key))
	if order.OrderID != got.OrderID || order.RecordID != got.RecordID || order.Product != "identity" || order.CardNumber != "" || order.CreatedAt.IsZero() {
		t.Errorf("order: %+v", order)
	}
	body := string(s.get(first.header.Get("Location"), key).body)
	if strings.Count(body, `":`) > 9 {
		t.Errorf("the order tells more than it should: %s", body)
	}
}

// TestEnciphered encrypts a record to the published key, as a registry does.
func TestEnciphered(t *testing.T) {
	o := open(t)
	s := serve(t, o.config(t))
	published := s.get("/v1/intake-key", "")
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(published.body, &jwk); err != nil || !jwk.IsPublic() || published.header.Get("Content-Type") != "application/jwk+json" {
		t.Fatalf("%v: %s", err, published.body)
	}
	if strings.Contains(string(published.body), `"d"`) {
		t.Fatal("the private key was published")
	}
	seal, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.ECDH_ES_A256KW, Key: jwk.Key, KeyID: jwk.KeyID},
		(&jose.EncrypterOptions{}).WithContentType("verified-record+jws"))
	if err != nil {
		t.Fatal(err)
	}
	jwe, err := seal.Encrypt([]byte(o.records[1]))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := jwe.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	if a := s.post(compact, o.keys["records"]); a.status != http.StatusCreated {
		t.Errorf("%d %s", a.status, a.body)
	}
	// Encrypted to somebody else.
	parts := strings.Split(compact, ".")
	parts[1] = "AAAA" + parts[1][4:]
	s.post(strings.Join(parts, "."), o.keys["records"]).expect(t, 400, record.JWEUnreadable)
}

func TestRefusedRecords(t *testing.T) {
	o := open(t)
	s := serve(t, o.config(t))
	key := o.keys["records"]
	p := s.post(altered(o.records[2]), key).expect(t, 403, record.BadSignature)
	if p.RecordID == "" {
		t.Error("the refusal does not say which record")
	}
	s.post("hello", key).expect(t, 400, record.NotJWS)
	s.post("", key).expect(t, 400, record.NotJWS)
	s.post(o.records[2]+"\n"+o.records[3], key).expect(t, 400, record.NotJWS)
	s.post(o.records[2][:len(o.records[2])/2], key).expect(t, 400, record.NotJWS)
	s.post(strings.Repeat("A", record.MaxLine), key).expect(t, 400, record.NotJWS)
	s.post(strings.Repeat("A", record.MaxLine+3), key).expect(t, 413, record.LineTooLong)
	// Still being sent when it is refused.
	s.do(s.request("POST", "/v1/records", key, "text/plain", &generated{n: 1, length: 64 << 20})).expect(t, 413, record.LineTooLong)
}

func TestOrderThatIsNotThere(t *testing.T) {
	o := open(t)
	s := serve(t, o.config(t))
	for _, id := range []string{
		"01890a5d-ac96-774b-bcce-b302099a8057", "1", "%00", "x%27%20OR%201=1", "{01890a5d-ac96-774b-bcce-b302099a8057}",
		"urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057", strings.Repeat("0", 2000),
	} {
		s.get("/v1/orders/"+id, o.keys["orders"]).expect(t, 404, api.OrderNotFound)
	}
}

// TestCardNumberOnlyOnceIssued: until then the number is nobody's.
func TestCardNumberOnlyOnceIssued(t *testing.T) {
	for state, want := range map[string]string{"in-progress": "", "in-doubt": "", "issued": "B7K2M9X4T"} {
		s := serve(t, stub{order: orderIn(state)}.config())
		got := decode[api.Order](t, s.get("/v1/orders/01890a5d-ac96-774b-bcce-b302099a8057", allKey))
		if got.State != state || got.CardNumber != want {
			t.Errorf("%s: card number %q", state, got.CardNumber)
		}
	}
}
