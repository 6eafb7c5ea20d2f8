package api_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"cardbureau/api"
	"cardbureau/personalization/record"
)

const secretWord = "xyzzy-plugh"

// TestLogAndMetricsSayNothing sends all kinds of requests and searches log and
// counters for what they held.
func TestLogAndMetricsSayNothing(t *testing.T) {
	o := open(t)
	s := serve(t, o.config(t))
	key := o.keys["records,orders"]
	a := s.post(o.records[20], key)
	receipt := decode[api.Receipt](t, a)
	s.get("/v1/orders/"+receipt.OrderID, key)
	s.post(altered(o.records[21]), key)
	s.post(secretWord, key)
	s.batch(strings.NewReader(o.records[22]+"\n"+secretWord+"\n"+altered(o.records[23])), key)
	s.get("/v1/orders/"+secretWord+"?"+secretWord+"="+secretWord, key)
	s.get("/"+secretWord, "cbk_"+secretWord)
	s.get("/v1/orders/1", "cbk_"+secretWord)
	r := s.request("POST", "/v1/records", key, "application/"+secretWord, strings.NewReader(secretWord))
	r.Header.Set("User-Agent", secretWord)
	s.do(r)
	s.do(s.request(strings.ToUpper(secretWord), "/v1/records", key, "", nil))

	forbidden := []string{secretWord, strings.ToUpper(secretWord), key, key[4:], receipt.OrderID, receipt.RecordID}
	for _, jws := range o.records[20:24] {
		forbidden = append(forbidden, jws[:40], jws[len(jws)-40:])
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(jws, ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		var rec record.Record
		if err := json.Unmarshal(payload, &rec); err != nil {
			t.Fatal(err)
		}
		forbidden = append(forbidden, rec.Person.UniqueID, rec.RecordID)
	}
	counters := s.get("/metrics", o.keys["metrics"])
	for name, text := range map[string]string{"log": s.log.String(), "metrics": string(counters.body)} {
		for _, f := range forbidden {
			if strings.Contains(text, f) {
				t.Errorf("the %s holds %q", name, f)
			}
		}
	}
	for _, want := range []string{
		`cardbureau_http_requests_total{method="POST",route="POST /v1/records",status="201"} 1`,
		`cardbureau_http_requests_total{method="GET",route="GET /v1/orders/{id}",status="200"} 1`,
		`cardbureau_http_requests_total{method="other",route="none",status="405"} 1`,
		`cardbureau_records_total{code="",status="accepted"} 2`,
		`cardbureau_records_total{code="signature-invalid",status="refused"}`,
		`cardbureau_http_requests_in_flight 1`,
	} {
		if !strings.Contains(string(counters.body), want) {
			t.Errorf("no %s in\n%s", want, counters.body)
		}
	}
	checkAccessLog(t, s.log.String())
}

// checkAccessLog: each request has one line with these members and no other.
func checkAccessLog(t *testing.T, log string) {
	t.Helper()
	requests, withKey := 0, 0
	for sc := bufio.NewScanner(strings.NewReader(log)); sc.Scan(); {
		var line map[string]any
		if err := json.Unmarshal(sc.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line["msg"] != "request" {
			continue
		}
		requests++
		if line["key"] != "-" {
			withKey++
		}
		for name := range line {
			switch name {
			case "time", "level", "msg", "method", "route", "status", "milliseconds", "key":
			default:
				t.Errorf("the access log holds %s", name)
			}
		}
	}
	if requests < 11 || withKey < 6 {
		t.Errorf("%d requests, %d with a key:\n%s", requests, withKey, log)
	}
}
