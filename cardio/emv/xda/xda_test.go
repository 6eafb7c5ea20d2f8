package xda

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"cardbureau/cardio/emv/ecsdsa"
	"cardbureau/cardio/emv/internal/xdatest"
)

const pan = "5892100000000016"

var (
	rid   = []byte{0xF0, 0, 0, 3, 0x64}
	today = time.Date(2030, 6, 30, 23, 59, 30, 0, time.UTC)
	card  = []byte("issuer certified card data")
)

func public(k xdatest.Key) ecsdsa.PublicKey {
	return ecsdsa.PublicKey{Suite: ecsdsa.Suite(k.Suite), X: k.X}
}

func flip(b []byte, at int) []byte {
	out := bytes.Clone(b)
	out[at] ^= 1
	return out
}

// chain is a right chain of keys.
type chain struct{ ca, issuer, icc xdatest.Key }

// TestChain: every mixture of the two curves, and not one byte that can be altered
// unseen; with P-521, which is slow, every 29th is tried.
func TestChain(t *testing.T) {
	for _, suites := range [][3]byte{
		{xdatest.P256, xdatest.P256, xdatest.P256}, {xdatest.P521, xdatest.P521, xdatest.P521},
		{xdatest.P521, xdatest.P256, xdatest.P256}, {xdatest.P521, xdatest.P521, xdatest.P256}, {xdatest.P256, xdatest.P521, xdatest.P521},
	} {
		k := chain{xdatest.NewKey(suites[0], false), xdatest.NewKey(suites[1], false), xdatest.NewKey(suites[2], false)}
		authority := Authority{public(k.ca), rid, 0xE1}
		cert := xdatest.NewIssuer(k.issuer, rid, 0xE1).Signed(k.ca)
		issuer, err := RecoverIssuer(authority, pan, cert, today)
		if err != nil || !issuer.Equal(public(k.issuer)) {
			t.Fatalf("%X: %v", suites, err)
		}
		iccCert := xdatest.NewICC(k.icc, HashSHA256, card).Signed(k.issuer)
		icc, err := RecoverICC(issuer, card, iccCert, today)
		if err != nil || !icc.Equal(public(k.icc)) {
			t.Fatalf("%X: %v", suites, err)
		}
		signed := append([]byte{0x15}, k.icc.Sign([]byte("\x15PDOLCDOLanswer"))...)
		if err := VerifyDynamic(icc, signed, []byte("PDOL"), []byte("CDOL"), []byte("answer")); err != nil {
			t.Fatalf("%X: %v", suites, err)
		}
		step := 1
		if suites != [3]byte{xdatest.P256, xdatest.P256, xdatest.P256} {
			step = 29
		}
		for i := 0; i < len(cert); i += step {
			if _, err := RecoverIssuer(authority, pan, flip(cert, i), today); err == nil {
				t.Fatalf("%X: byte %d of the issuer's certificate", suites, i)
			}
		}
		for i := 0; i < len(iccCert); i += step {
			if _, err := RecoverICC(issuer, card, flip(iccCert, i), today); err == nil {
				t.Fatalf("%X: byte %d of the card's certificate", suites, i)
			}
		}
		for i := 0; i < len(signed); i += step {
			if err := VerifyDynamic(icc, flip(signed, i), []byte("PDOLCDOLanswer")); err == nil {
				t.Fatalf("%X: byte %d of the signature", suites, i)
			}
		}
	}
}

// TestParities: which y is meant depends on its size, not on its parity.
func TestParities(t *testing.T) {
	for _, suite := range []byte{xdatest.P256, xdatest.P521} {
		seen := map[[2]bool]bool{}
		for len(seen) < 4 {
			greater := len(seen)%2 == 1
			k := xdatest.NewKey(suite, greater)
			seen[[2]bool{greater, k.Odd}] = true
			err := ecsdsa.Verify(public(k), []byte("message"), k.Sign([]byte("message")))
			if greater && !errors.Is(err, ecsdsa.ErrSignature) || !greater && err != nil {
				t.Errorf("%02X, the greater y %v, odd %v: %v", suite, greater, k.Odd, err)
			}
		}
	}
}

// TestIssuerSteps is each step of section 12.3 that can fail by itself: the
// certificate is signed, whatever it says.
func TestIssuerSteps(t *testing.T) {
	k := chain{xdatest.NewKey(xdatest.P256, false), xdatest.NewKey(xdatest.P256, false), xdatest.NewKey(xdatest.P256, false)}
	greater := xdatest.NewKey(xdatest.P256, true)
	for name, test := range map[string]struct {
		change func(*xdatest.Issuer)
		cut    func([]byte) []byte
		ca     *xdatest.Key
		at     time.Time
		want   error
	}{
		"right":                      {},
		"1: 20 bytes":                {cut: func(b []byte) []byte { return b[:20] }, want: ErrLength},
		"1: nothing":                 {cut: func([]byte) []byte { return nil }, want: ErrLength},
		"2: RSA's format":            {change: func(c *xdatest.Issuer) { c.Format = 0x02 }, want: ErrFormat},
		"3: encoding":                {change: func(c *xdatest.Issuer) { c.Encoding = 1 }, want: ErrFormat},
		"4: another issuer":          {change: func(c *xdatest.Issuer) { c.Identifier = "589211FFFF" }, want: ErrIdentifier},
		"4: two digits":              {change: func(c *xdatest.Issuer) { c.Identifier = "58FFFFFFFF" }, want: ErrIdentifier},
		"4: F between":               {change: func(c *xdatest.Issuer) { c.Identifier = "58F2100000" }, want: ErrIdentifier},
		"4: three digits":            {change: func(c *xdatest.Issuer) { c.Identifier = "589FFFFFFF" }},
		"4: ten digits":              {change: func(c *xdatest.Issuer) { c.Identifier = "5892100000" }},
		"5: yesterday":               {change: func(c *xdatest.Issuer) { c.Expiry = "20300629" }, want: ErrExpired},
		"5: today":                   {change: func(c *xdatest.Issuer) { c.Expiry = "20300630" }},
		"5: no date":                 {change: func(c *xdatest.Issuer) { c.Expiry = "20301301" }, want: ErrFormat},
		"5: no digits":               {change: func(c *xdatest.Issuer) { c.Expiry = "2030123A" }, want: ErrFormat},
		"5: today elsewhere":         {change: func(c *xdatest.Issuer) { c.Expiry = "20300630" }, at: time.Date(2030, 7, 1, 2, 0, 0, 0, time.FixedZone("", 3*3600))},
		"6: another RID":             {change: func(c *xdatest.Issuer) { c.RID = []byte{0xA0, 0, 0, 0, 3} }, want: ErrAuthority},
		"6: another index":           {change: func(c *xdatest.Issuer) { c.Index = 0xE2 }, want: ErrAuthority},
		"8: a suite assigned":        {change: func(c *xdatest.Issuer) { c.Suite = 0x12 }, want: ecsdsa.ErrSuite},
		"8: a suite of encipherment": {change: func(c *xdatest.Issuer) { c.Suite = 0x00 }, want: ecsdsa.ErrSuite},
		"9: the other curve":         {change: func(c *xdatest.Issuer) { c.Suite = xdatest.P521 }, want: ErrLength},
		"9: a byte more":             {cut: func(b []byte) []byte { return append(b, 0) }, want: ErrLength},
		"9: a byte less":             {cut: func(b []byte) []byte { return b[:len(b)-1] }, want: ErrLength},
		"11: another authority":      {ca: &k.icc, want: ecsdsa.ErrSignature},
		"11: the greater y":          {ca: &greater, want: ecsdsa.ErrSignature},
		"12: no point":               {change: func(c *xdatest.Issuer) { c.X = noPoint(t) }, want: ecsdsa.ErrKey},
		"order: format before issuer": {change: func(c *xdatest.Issuer) { c.Format, c.Identifier = 2, "589211FFFF" },
			want: ErrFormat},
		"order: expiry before authority": {change: func(c *xdatest.Issuer) { c.Expiry, c.Index = "20200101", 9 }, want: ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			c := xdatest.NewIssuer(k.issuer, rid, 0xE1)
			if test.change != nil {
				test.change(&c)
			}
			ca := k.ca
			if test.ca != nil {
				ca = *test.ca
			}
			b := c.Signed(ca)
			if test.cut != nil {
				b = test.cut(b)
			}
			authority := Authority{public(k.ca), rid, 0xE1}
			if name == "11: the greater y" {
				authority.Key = public(greater)
			}
			at := test.at
			if at.IsZero() {
				at = today
			}
			if _, err := RecoverIssuer(authority, pan, b, at); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

// TestICCSteps is the same of section 12.4.
func TestICCSteps(t *testing.T) {
	issuer, icc := xdatest.NewKey(xdatest.P256, false), xdatest.NewKey(xdatest.P256, false)
	greater := xdatest.NewKey(xdatest.P256, true)
	for name, test := range map[string]struct {
		change func(*xdatest.ICC)
		cut    func([]byte) []byte
		by     xdatest.Key
		want   error
	}{
		"right":                 {},
		"SHA-512":               {change: func(c *xdatest.ICC) { c.Indicator, c.Hash = HashSHA512, xdatest.Hash(HashSHA512, card) }},
		"1: 16 bytes":           {cut: func(b []byte) []byte { return b[:16] }, want: ErrLength},
		"2: RSA's format":       {change: func(c *xdatest.ICC) { c.Format = 0x04 }, want: ErrFormat},
		"2: an issuer's":        {change: func(c *xdatest.ICC) { c.Format = 0x12 }, want: ErrFormat},
		"3: encoding":           {change: func(c *xdatest.ICC) { c.Encoding = 1 }, want: ErrFormat},
		"4: this minute":        {change: func(c *xdatest.ICC) { c.Expiry = "203006302359" }, want: ErrExpired},
		"4: the next":           {change: func(c *xdatest.ICC) { c.Expiry = "203007010000" }},
		"4: no time":            {change: func(c *xdatest.ICC) { c.Expiry = "203106302400" }, want: ErrFormat},
		"5: suite":              {change: func(c *xdatest.ICC) { c.Suite = 0x80 }, want: ecsdsa.ErrSuite},
		"6: SHA-1":              {change: func(c *xdatest.ICC) { c.Indicator = 0x01 }, want: ErrHash},
		"6: SHA-3":              {change: func(c *xdatest.ICC) { c.Indicator = 0x04 }, want: ErrHash},
		"data encoding":         {change: func(c *xdatest.ICC) { c.DataEncoding = 1 }, want: ErrFormat},
		"7: wrong hash's":       {change: func(c *xdatest.ICC) { c.Indicator = HashSHA512 }, want: ErrLength},
		"7: a byte more":        {cut: func(b []byte) []byte { return append(b, 0) }, want: ErrLength},
		"8: another card":       {change: func(c *xdatest.ICC) { c.Hash = xdatest.Hash(HashSHA256, []byte("another")) }, want: ErrCardData},
		"10: another issuer":    {by: icc, want: ecsdsa.ErrSignature},
		"10: the greater y":     {by: greater, want: ecsdsa.ErrSignature},
		"11: no point":          {change: func(c *xdatest.ICC) { c.X = noPoint(t) }, want: ecsdsa.ErrKey},
		"order: hash before 10": {change: func(c *xdatest.ICC) { c.Hash = xdatest.Hash(HashSHA256, nil) }, by: icc, want: ErrCardData},
	} {
		t.Run(name, func(t *testing.T) {
			c := xdatest.NewICC(icc, HashSHA256, card)
			if test.change != nil {
				test.change(&c)
			}
			by := test.by
			if by.D == nil {
				by = issuer
			}
			b := c.Signed(by)
			if test.cut != nil {
				b = test.cut(b)
			}
			key := public(issuer)
			if name == "10: the greater y" {
				key = public(greater)
			}
			if _, err := RecoverICC(key, card, b, today); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

// TestDynamicSteps is the same of section 12.5.3.
func TestDynamicSteps(t *testing.T) {
	key := xdatest.NewKey(xdatest.P256, false)
	right := append([]byte{0x15}, key.Sign([]byte("\x15data"))...)
	for name, test := range map[string]struct {
		signed []byte
		want   error
	}{
		"right":          {right, nil},
		"none":           {nil, ErrLength},
		"short":          {right[:64], ErrLength},
		"long":           {append(bytes.Clone(right), 0), ErrLength},
		"CDA's format":   {append([]byte{0x05}, right[1:]...), ErrFormat},
		"without format": {append([]byte{0x15}, key.Sign([]byte("data"))...), ecsdsa.ErrSignature},
		"other data":     {append([]byte{0x15}, key.Sign([]byte("\x15datb"))...), ecsdsa.ErrSignature},
	} {
		if err := VerifyDynamic(public(key), test.signed, []byte("da"), []byte("ta")); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func noPoint(t *testing.T) []byte {
	t.Helper()
	for i := byte(1); i < 255; i++ {
		x := append(make([]byte, 31), i)
		if (ecsdsa.PublicKey{Suite: ecsdsa.SuiteP256, X: x}).Check() != nil {
			return x
		}
	}
	t.Fatal("every x is of a point")
	return nil
}

// FuzzCertificates: no bytes of a card make a parser panic, and none is taken that
// nobody signed.
func FuzzCertificates(f *testing.F) {
	ca, issuer, icc := xdatest.NewKey(xdatest.P256, false), xdatest.NewKey(xdatest.P521, false), xdatest.NewKey(xdatest.P256, false)
	cert := xdatest.NewIssuer(issuer, rid, 0xE1).Signed(ca)
	iccCert := xdatest.NewICC(icc, HashSHA256, card).Signed(issuer)
	signed := append([]byte{0x15}, icc.Sign([]byte("\x15data"))...)
	f.Add(cert)
	f.Add(iccCert)
	f.Add(signed)
	f.Add([]byte{0x12, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := RecoverIssuer(Authority{public(ca), rid, 0xE1}, pan, b, today); err == nil && !bytes.Equal(b, cert) {
			t.Error("an issuer's certificate that nobody signed")
		}
		if _, err := RecoverICC(public(issuer), card, b, today); err == nil && !bytes.Equal(b, iccCert) {
			t.Error("a card's certificate that nobody signed")
		}
		if err := VerifyDynamic(public(icc), b, []byte("data")); err == nil && !bytes.Equal(b, signed) {
			t.Error("a signature that nobody made")
		}
	})
}
