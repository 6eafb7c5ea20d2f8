package bank

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/personalization/payment/bankfile"
	"cardbureau/personalization/vault"
)

// acknowledgement is the bank's next answer to a file.
func (c *counter) acknowledgement(before *bankfile.Info, of bankfile.Info, answers ...bankfile.Answer) ([]byte, bankfile.Info) {
	c.t.Helper()
	f := &bankfile.Acknowledgement{
		Header: bankfile.Header{Sender: "SEPAH", Receiver: "BUREAU", Sequence: 1, Day: of.Day, Created: time.Now().UTC().Truncate(time.Second)},
		OfKind: of.Kind, OfSequence: of.Sequence, OfDigest: of.Digest, File: bankfile.Accepted, Answers: answers,
	}
	if before != nil {
		f.Sequence, f.Previous = before.Sequence+1, before.Digest
	}
	var buf bytes.Buffer
	info, err := bankfile.Write(&buf, f, bankfile.CSV)
	c.must(err)
	return buf.Bytes(), info
}

// TestFiles writes the day's files, takes the bank's answers line by line, and none
// that is not of a file that was sent.
func TestFiles(t *testing.T) {
	c := newCounter(t)
	cards := []made{c.issue(9201), c.issue(9202)}
	var buf bytes.Buffer
	sent, err := c.IssuingResult(c.ctx, &buf, time.Now(), bankfile.CSV, c.ali)
	c.must(err)
	for _, m := range cards {
		row := Token(m.token)
		if text := buf.String(); !strings.Contains(text, row) || !strings.Contains(text, m.iban) || strings.Contains(text, string(m.pan)) {
			t.Error("a card is not in the file, or its PAN is")
		}
	}
	if sent.Records < 2 {
		t.Fatalf("%d records", sent.Records)
	}

	strange := sent
	strange.Sequence = 99
	missing, _ := c.acknowledgement(nil, strange, bankfile.Answer{Of: 1, Code: bankfile.Accepted})
	altered := sent
	altered.Digest[0] ^= 1
	other, _ := c.acknowledgement(nil, altered, bankfile.Answer{Of: 1, Code: bankfile.Accepted})
	beyond, _ := c.acknowledgement(nil, sent, bankfile.Answer{Of: uint64(sent.Records) + 1, Code: bankfile.Accepted})
	good, first := c.acknowledgement(nil, sent, bankfile.Answer{Of: 1, Code: bankfile.Accepted}, bankfile.Answer{Of: 2, Code: bankfile.ClosedAccount})
	for name, b := range map[string][]byte{
		"of no file": missing, "of an altered file": other, "of no record": beyond, "an issuing result": buf.Bytes(), "nothing": nil,
		"altered": bytes.Replace(good, []byte("02"), []byte("03"), 1), "cut": good[:len(good)-20],
	} {
		if fresh, _, err := c.Acknowledge(c.ctx, bytes.NewReader(b), c.ali); err == nil || fresh != 0 {
			t.Errorf("acknowledgement, %s: %d, %v", name, fresh, err)
		}
	}
	for i, want := range []int{2, 0} { // the same again says the same, and counts nothing
		fresh, rejected, err := c.Acknowledge(c.ctx, bytes.NewReader(good), c.ali)
		if err != nil || fresh != want || len(rejected) != 1 || rejected[0] != (bankfile.Answer{Of: 2, Code: bankfile.ClosedAccount}) {
			t.Errorf("acknowledgement, time %d: %d, %+v, %v", i+1, fresh, rejected, err)
		}
	}
	gap, _ := c.acknowledgement(&bankfile.Info{Kind: first.Kind, Sequence: first.Sequence + 1, Digest: first.Digest}, sent)
	if _, _, err := c.Acknowledge(c.ctx, bytes.NewReader(gap), c.ali); !errors.Is(err, bankfile.ErrChain) {
		t.Errorf("out of order: %v", err)
	}
	refusal := &bankfile.Acknowledgement{
		Header: bankfile.Header{Sender: "SEPAH", Receiver: "BUREAU", Sequence: first.Sequence + 1, Previous: first.Digest, Day: sent.Day, Created: time.Now().UTC().Truncate(time.Second)},
		OfKind: sent.Kind, OfSequence: sent.Sequence, File: bankfile.FileUnreadable,
	}
	buf.Reset()
	_, err = bankfile.Write(&buf, refusal, bankfile.Fixed)
	c.must(err)
	for range 2 {
		if _, _, err := c.Acknowledge(c.ctx, bytes.NewReader(buf.Bytes()), c.ali); !errors.Is(err, ErrFileRefused) || !strings.Contains(err.Error(), "cannot be read") {
			t.Errorf("a file that was refused whole: %v", err)
		}
	}
	f, _, err := c.Reconcile(c.ctx, &bytes.Buffer{}, time.Now(), bankfile.CSV, c.ali)
	c.must(err)
	i := slices.IndexFunc(f.Files, func(x bankfile.FileTotals) bool { return x.Sequence == sent.Sequence })
	if i < 0 || f.Files[i].Accepted != 1 || f.Files[i].Rejected != 1 || f.Files[i].Open != uint64(sent.Records)-2 {
		t.Errorf("reconciled: %+v", f.Files)
	}
}

// TestPANs: the bank learns the numbers that were taken from its range by a program of
// docs/bank-files.md, which shares nothing with this one; nobody else can.
func TestPANs(t *testing.T) {
	c := newCounter(t)
	m := c.issue(9301)
	doc, err := os.ReadFile("../../docs/bank-files.md")
	c.must(err)
	code := regexp.MustCompile("(?s)```python\n(import base64.*?)```").FindSubmatch(doc)
	if code == nil {
		t.Fatal("the page has no program that deciphers")
	}
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		c.must(os.WriteFile(path, b, 0o600))
		return path
	}
	key := jose.JSONWebKey{Key: c.open, KeyID: "bank-files"}
	own, err := key.MarshalJSON()
	c.must(err)
	program, jwk := write("open.py", code[1]), write("own.jwk", own)
	signer, err := c.Vault.BankJWK(c.ctx, vault.BindingKID)
	c.must(err)
	jwks := write("bank-jwks.json", fmt.Appendf(nil, `{"keys": [%s]}`, signer))
	other, err := json.Marshal(jose.JSONWebKey{Key: c.sign.Public(), KeyID: vault.BindingKID})
	c.must(err)
	others := write("other-jwks.json", fmt.Appendf(nil, `{"keys": [%s]}`, other))

	var previous string
	for want := 1; want <= 2; want++ {
		list, sequence, cards, err := c.PANs(c.ctx, time.Now(), c.ali)
		c.must(err)
		if again, n, _, err := c.PANs(c.ctx, time.Now(), c.ali); err != nil || again != list || n != sequence {
			t.Errorf("the same day again: list %d, %v", n, err)
		}
		c.issue(9301 + want) // the next list has one more
		out, err := exec.Command("/usr/bin/python3", program, jwk, write("list.jwe", []byte(list)), jwks).Output()
		c.must(err)
		var got struct {
			Kind, Previous string
			Sequence       int
			Cards          []struct {
				PAN, PANToken, Expires, ServiceCode string
				PANSequence                         int
			}
		}
		c.must(json.Unmarshal(out, &got))
		if got.Kind != KindPANs || got.Sequence != want || sequence != want || cards != len(got.Cards) || want == 2 && got.Previous != previous {
			t.Errorf("list %d: %s %d after %s", want, got.Kind, got.Sequence, got.Previous)
		}
		found := false
		for _, x := range got.Cards {
			found = found || x.PAN == string(m.pan) && x.PANToken == Token(m.token) && x.PANSequence == 1 && x.Expires == "2031-11-30" && x.ServiceCode == "201"
		}
		if !found || strings.Contains(list, string(m.pan)) {
			t.Errorf("list %d lacks the card, or shows its PAN", want)
		}
		if out, err := exec.Command("/usr/bin/python3", program, jwk, write("list.jwe", []byte(list)), others).CombinedOutput(); err == nil || !strings.Contains(string(out), "InvalidSignature") {
			t.Errorf("signed by another: %v, %s", err, out)
		}
		previous = digestOf(list)
		if want == 2 {
			continue
		}
		for at, part := range strings.Split(strings.TrimSpace(list), ".") {
			if at%3 != 1 { // the wrapped key and the tag
				continue
			}
			bad, i := []byte(list), strings.Index(list, part)+len(part)/2
			if bad[i] = 'A'; list[i] == 'A' {
				bad[i] = 'B'
			}
			if out, err := exec.Command("/usr/bin/python3", program, jwk, write("bad.jwe", bad), jwks).Output(); err == nil {
				t.Errorf("part %d altered: %s", at, out)
			}
		}
	}
	// Neither another's key nor the file without one.
	stranger := *c.Service
	stranger.BankKeys.Keys = c.BankKeys.Keys[:1]
	if _, _, _, err := stranger.PANs(c.ctx, time.Now(), c.ali); !errors.Is(err, ErrNoBankKey) {
		t.Errorf("to no key: %v", err)
	}
	if _, err := stranger.Encrypt([]byte("x")); !errors.Is(err, ErrNoBankKey) {
		t.Errorf("a file to no key: %v", err)
	}
	sealed, err := c.Encrypt([]byte("record,kind\r\n"))
	c.must(err)
	if out, err := exec.Command("/usr/bin/python3", program, jwk, write("file.jwe", sealed)).Output(); err != nil || string(out) != "record,kind\r\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// TestMasked: first six and last four digits, and no other.
func TestMasked(t *testing.T) {
	c := newCounter(t)
	m := c.issue(9401)
	got, err := c.Masked(c.ctx, m.token, 1)
	if pan := string(m.pan); err != nil || got != pan[:6]+"******"+pan[12:] {
		t.Errorf("%s, %v", got, err)
	}
	if s, err := c.Status(c.ctx, m.token, 1); err != nil || s.PAN != "" || s.Last4 != m.pan.Last4() || s.State != "made" {
		t.Errorf("%+v, %v", s, err)
	}
}
