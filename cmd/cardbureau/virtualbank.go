package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cardbureau/api"
	"cardbureau/api/iso8583"
	"cardbureau/cardio/emv"
	"cardbureau/cardio/emv/oda"
	"cardbureau/cardio/pcsc"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/cardio/virtual/rack"
	"cardbureau/personalization/bank"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/record/sample"
	"cardbureau/personalization/vault"
)

type virtualAccounts struct{}

func (virtualAccounts) Help() string {
	return "Prints the message that a test bank would send: an account for every order that waits for one, signed with the test bank's key and enciphered to the bureau's."
}

func (virtualAccounts) Example() string {
	return "cardbureau virtual accounts --data /tmp/rehearsal > accounts.jwe"
}

// firstAccount numbers the test bank's accounts apart from those of records.
const firstAccount = 500_000

func (virtualAccounts) Run(ctx context.Context, g *globals) error {
	b, s, _, err := openBank(ctx, g, "rehearsal")
	if err != nil {
		return err
	}
	defer b.Close()
	if err := needDevelopment(b.Config); err != nil {
		return err
	}
	waiting, err := s.Awaiting(ctx, "", 1000)
	if err != nil {
		return err
	}
	m := bank.Message{IssuedAt: time.Now().UTC()}
	for i, w := range waiting {
		a := sample.Account(uint64(time.Now().Unix()%10000), firstAccount+i)
		m.Assignments = append(m.Assignments, bank.Assignment{
			Reference: "TEST-" + w.OrderID, OrderID: w.OrderID, Account: payment.Account{IBAN: a.IBAN, Account: a.Account},
		})
	}
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	jws, err := b.Vault.SignTestBank(ctx, body)
	if err != nil {
		return err
	}
	jwe, err := toBureau(b.Dir, []byte(jws))
	if err != nil {
		return err
	}
	fmt.Println(jwe)
	fmt.Fprintf(os.Stderr, "%d accounts\n", len(m.Assignments))
	return nil
}

// toBureau enciphers a message to the bureau's key for the bank.
func toBureau(dir string, plain []byte) (string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, bureau.BankIntakeKey))
	if err != nil {
		return "", err
	}
	var key jose.JSONWebKey
	if err := json.Unmarshal(raw, &key); err != nil {
		return "", err
	}
	enc, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.ECDH_ES_A256KW, Key: key.Key, KeyID: key.KeyID}, nil)
	if err != nil {
		return "", err
	}
	object, err := enc.Encrypt(plain)
	if err != nil {
		return "", err
	}
	return object.CompactSerialize()
}

type virtualPay struct {
	Card   string `arg:"" help:"Card number, or the serial number of its chip."`
	URL    string `help:"Where the bureau's API answers." required:"" xor:"issuer" name:"url"`
	Switch string `help:"Where the bureau's ISO 8583 port listens, in place of the API: HOST:PORT or unix:PATH." required:"" xor:"issuer" placeholder:"ADDRESS"`
	Key    string `help:"Bearer key of the API with the scope bank:verify; empty: $CARDBUREAU_API_KEY." env:"CARDBUREAU_API_KEY"`
	Amount uint64 `help:"In rials." default:"250000"`
}

func (virtualPay) Help() string {
	return "Puts a software card into the first virtual reader and runs a purchase as a terminal does: directory, records, offline data authentication, GENERATE AC. Its issuer is the bureau's API, which verifies the cryptogram and answers it."
}

func (virtualPay) Example() string {
	return "cardbureau virtual pay 4KD82MRXB --url http://127.0.0.1:8443 --data /tmp/rehearsal"
}

// paid is what became of a purchase. It holds no number of the card.
type paid struct {
	Card         string      `json:"card"`
	Verified     bool        `json:"arqcVerified"`
	ResponseCode string      `json:"responseCode"`
	Approved     bool        `json:"approved"`
	Checks       []emv.Check `json:"checks"`
}

func (c virtualPay) Run(ctx context.Context, g *globals) error {
	_, serial, err := virtualInsert{Card: c.Card}.find(ctx, g)
	if err != nil {
		return err
	}
	r, err := pcscd.ReadReaders(filepath.Join(g.Data, "run"))
	if err != nil || len(r.Readers) == 0 {
		return errors.New("no virtual readers run for this data folder: start them with cardbureau virtual run")
	}
	issuer, err := readIssuer(g.Data)
	if err != nil {
		return err
	}
	control := rack.Client{Socket: r.Readers[0].Control}
	if err := pcsc.UseSocket(r.Socket); err != nil {
		return err
	}
	pc, err := pcsc.Open()
	if err != nil {
		return err
	}
	defer pc.Close()
	_, _ = control.Do(ctx, rack.Request{Op: "remove", Slot: 0})
	if err := pc.WaitRemoved(ctx, r.Readers[0].Name); err != nil {
		return err
	}
	if _, err := control.Do(ctx, rack.Request{Op: "insert", Slot: 0, Card: serial}); err != nil {
		return err
	}
	defer func() {
		_, _ = control.Do(context.WithoutCancel(ctx), rack.Request{Op: "remove", Slot: 0})
	}()
	if _, err := pc.WaitCard(ctx, r.Readers[0].Name); err != nil {
		return err
	}
	card, err := pc.Connect(ctx, r.Readers[0].Name)
	if err != nil {
		return err
	}
	defer card.Close(pcsc.Unpower)
	out := paid{Card: c.Card}
	terminal := &emv.Terminal{
		Type: 0x22, Capabilities: [3]byte{0xE0, emv.CanNoCVM, emv.CanSDA | emv.CanDDA | emv.CanCDA | emv.CanXDA}, Country: 364, Currency: 364,
		Applications: []emv.Settings{{Wanted: emv.Wanted{AID: issuer.RID, Partial: true}, Version: 2}},
		CAKeys: func(rid []byte, index byte) (oda.PublicKey, bool) {
			return oda.PublicKey{Modulus: issuer.CAModulus, Exponent: issuer.CAExponent}, bytes.Equal(rid, issuer.RID) && index == issuer.CAIndex
		},
		ECCKeys: issuer.ECCKey,
		Online: func(ctx context.Context, q emv.Request) (emv.Response, error) {
			ask := c.ask
			if c.Switch != "" {
				ask = c.askSwitch
			}
			v, err := ask(ctx, g.Data, q)
			if err != nil {
				fmt.Fprintln(os.Stderr, "cardbureau: the issuer:", err)
				return emv.Response{}, err
			}
			out.Verified, out.ResponseCode = v.Valid, v.ResponseCode
			data, err := hex.DecodeString(v.IssuerData)
			return emv.Response{ARC: v.ResponseCode, IssuerAuthenticationData: data}, err
		},
	}
	res, err := terminal.Run(ctx, card, emv.Transaction{Type: emv.Purchase, Amount: c.Amount})
	if res != nil {
		out.Approved, out.Checks = res.Approved, res.Checks
	}
	if err != nil {
		return fmt.Errorf("card %s: %w", c.Card, err)
	}
	if g.JSON {
		return printJSON(out)
	}
	fmt.Printf("card %s: cryptogram verified: %v, response code %s, approved: %v\n", out.Card, out.Verified, out.ResponseCode, out.Approved)
	for _, ck := range out.Checks {
		fmt.Printf("  %-28s %s %s\n", ck.Name, ck.Outcome, ck.Detail)
	}
	return nil
}

// ask sends a question about a cryptogram as a switch does: enciphered, since it
// holds the PAN.
func (c virtualPay) ask(ctx context.Context, dir string, q emv.Request) (v api.CryptogramVerdict, err error) {
	body, err := json.Marshal(bank.Question{
		PAN: q.PAN, Sequence: int(q.Sequence), ATC: int(q.ATC[0])<<8 | int(q.ATC[1]), Data: hex.EncodeToString(q.Input()), ARQC: hex.EncodeToString(q.ARQC),
	})
	if err != nil {
		return v, err
	}
	defer clear(body)
	jwe, err := toBureau(dir, body)
	if err != nil {
		return v, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(c.URL, "/")+"/v1/bank/arqc", strings.NewReader(jwe))
	if err != nil {
		return v, err
	}
	req.Header.Set("Authorization", "Bearer "+c.Key)
	req.Header.Set("Content-Type", "application/jose")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return v, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err == nil && res.StatusCode != http.StatusOK {
		var problem struct{ Title string }
		_ = json.Unmarshal(text, &problem)
		err = fmt.Errorf("the API answered %s: %s", res.Status, problem.Title)
	}
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	return v, err
}

// askSwitch sends the question as an ISO 8583 message.
func (c virtualPay) askSwitch(ctx context.Context, _ string, q emv.Request) (v api.CryptogramVerdict, err error) {
	network, address := "tcp", c.Switch
	if path, ok := strings.CutPrefix(c.Switch, unixPrefix); ok {
		network, address = "unix", path
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return v, fmt.Errorf("the ISO 8583 port: %w", err)
	}
	defer conn.Close()
	var icc []byte
	for _, tag := range []tlv.Tag{0x9F26, 0x9F27, 0x9F10, 0x9F37, 0x9F36, 0x95, 0x9A, 0x9C, 0x9F02, 0x9F03, 0x5F2A, 0x82, 0x9F1A} {
		if value, ok := q.Data[tag]; ok {
			icc = tlv.Append(icc, tag, value)
		}
	}
	r, err := iso8583.Ask(ctx, conn, iso8583.Question{PAN: q.PAN, Sequence: q.Sequence, Amount: c.Amount, STAN: int(time.Now().UnixNano() / 1e6 % 1e6), ICC: icc})
	return api.CryptogramVerdict{Valid: r.IssuerData != nil, ResponseCode: r.Code, IssuerData: hex.EncodeToString(r.IssuerData)}, err
}

// readIssuer reads the authority's key of a data folder.
func readIssuer(dir string) (info vault.IssuerInfo, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, bureau.IssuerFile))
	if err == nil {
		err = json.Unmarshal(raw, &info)
	}
	return info, err
}
