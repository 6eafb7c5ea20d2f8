package mrtd

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"math/big"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/icao"
)

// withoutParity clears the parity bits of a DES key, which the standard's
// example shows adjusted and DES ignores.
func withoutParity(b []byte) []byte {
	out := bytes.Clone(b)
	for i := range out {
		out[i] &^= 1
	}
	return out
}

// TestBasicAccessControlExample replays Doc 9303-11 appendix D: key
// derivation (D.1), the mutual authentication (D.3) and the reading of EF.COM
// under secure messaging (D.4), byte for byte.
func TestBasicAccessControlExample(t *testing.T) {
	v := loadVectors(t).BAC
	mrz := v.DocumentNumber + v.Check + v.Birth + "1" + v.Expiry + "6"
	seed := mrzSeed(mrz)[:16]
	if hex.EncodeToString(seed) != v.KSeed {
		t.Fatalf("K_seed %x, want %s", seed, v.KSeed)
	}
	kEnc, kMac := icao.KDF(seed, icao.KDFEncryption), icao.KDF(seed, icao.KDFMAC)
	if !bytes.Equal(withoutParity(kEnc), withoutParity(unhex(t, v.KEnc))) ||
		!bytes.Equal(withoutParity(kMac), withoutParity(unhex(t, v.KMac))) {
		t.Fatalf("K_Enc %x K_MAC %x, want %s %s", kEnc, kMac, v.KEnc, v.KMac)
	}

	c := newChip(t)
	c.random = bytes.NewReader(unhex(t, v.RndIC+"0B4F80323EB3191CB04970CB4052790B"))
	must(t, c.sequence(239, false, grouping{dgi(fidCOM), unhex(t, "60145F0104303130365F36063034303030305C026175")}), apdu.SWSuccess)
	must(t, c.sequence(239, true, grouping{dgiBACKeys, unhex(t, v.KEnc+v.KMac)}), apdu.SWSuccess)

	c.raw("00A4040C07A0000002471001", "9000")
	c.raw("0084000008", v.RndIC+"9000")
	c.raw("008200002872C29C2371CC9BDB65B779B8E8D37B29ECC154AA56A8799FAE2F498F76ED92F25F1448EEA8AD90A728",
		"46B9342A41396CD7386BF5803104D7CEDC122B9132139BAF2EEDC94EE178534F2F2D235D074D74499000")
	c.raw("0CA4020C158709016375432908C044F68E08BF8B92D635FF24F800", "990290008E08FA855A5D4C50A8ED9000")
	c.raw("0CB000000D9701048E08ED6705417E96BA5500", "8709019FF0EC34F9922651990290008E08AD55CC17140B2DED9000")
	c.raw("0CB000040D9701128E082EA28A70F3C7B53500",
		"871901FB9235F4E4037F2327DCC8964F1F9B8C30F42C8E2FFF224A990290008E08C8B2787EAEA07D749000")
}

// TestPACEExample replays Doc 9303-11 appendix G.1 (ECDH, generic mapping) on
// the example's curve, with the chip's random choices of the example.
func TestPACEExample(t *testing.T) {
	v := loadVectors(t).PaceGm
	c := newChip(t)
	c.domain = &domain{id: 13, Group: brainpoolP256r1()}
	c.reset()
	c.random = bytes.NewReader(unhex(t, v.S+
		"498FF49756F2DC1587840041839A85982BE7761D14715FB091EFA7BCE9058560"+
		"107CF58696EF6155053340FD633392BA81909DF7B9706F226F32086C7AFF974A"))
	password := mrzSeed("T22000129364081251010318")
	if got := hex.EncodeToString(icao.KDF(password, icao.KDFPassword)); got != v.KPi {
		t.Fatalf("K_pi %s, want %s", got, v.KPi)
	}
	must(t, c.sequence(239, true, grouping{dgiPACEMRZ, password}), apdu.SWSuccess)
	c.raw("0022C1A412800A04007F0007020204020283010184010D", "9000")
	c.raw("10860000027C0000", "7C128010"+v.Z+"9000")
	c.raw("10860000457C438141047ACF3EFC982EC45565A4B155129EFBC74650DCBFA6362D896FC70262E0C2CC5E"+
		"544552DCB6725218799115B55C9BAA6D9F6BC3A9618E70C25AF71777A9C4922D00",
		"7C43824104824FBA91C9CBE26BEF53A0EBE7342A3BF178CEA9F45DE0B70AA601651FBA3F57"+
			"30D8C879AAA9C9F73991E61B58F4D52EB87A0A0C709A49DC63719363CCD13C549000")
	c.raw("10860000457C438341042DB7A64C0355044EC9DF190514C625CBA2CEA48754887122F3A5EF0D5EDD301C"+
		"3556F3B3B186DF10B857B58F6A7EB80F20BA5DC7BE1D43D9BF850149FBB3646200",
		"7C438441049E880F842905B8B3181F7AF7CAA9F0EFB743847F44A306D2D28C1D9EC65DF6DB"+
			"7764B22277A2EDDC3C265A9F018F9CB852E111B768B326904B59A0193776F0949000")
	c.raw("008600000C7C0A8508C2B0BD78D94BA86600", "7C0A86083ABB9674BCE93C089000")

	// The example's session keys open the session.
	r := newReader(c)
	r.enc, r.mac = unhex(t, "F5F0E35C0D7161EE6724EE513A0D9A7F"), unhex(t, "FE251C7858B356B24514B3BD5F4297D1")
	r.ssc = new(big.Int)
	must(t, r.selectApplication(), apdu.SWSuccess)
}

// TestCurve compares P-256 with two other implementations.
func TestCurve(t *testing.T) {
	for range 3 {
		key, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		other, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public, err := icao.P256{}.Mul(nil, key.Bytes())
		if err != nil || !bytes.Equal(public, key.PublicKey().Bytes()) {
			t.Fatalf("public key %X, %v", public, err)
		}
		shared, err := icao.P256{}.Mul(other.PublicKey().Bytes(), key.Bytes())
		want, _ := key.ECDH(other.PublicKey())
		if err != nil || !bytes.Equal(icao.CoordinateX(shared), want) {
			t.Fatalf("shared secret differs, %v", err)
		}
		sum, err := icao.P256{}.Add(public, other.PublicKey().Bytes())
		slow, _ := nistP256().Add(public, other.PublicKey().Bytes())
		if err != nil || !bytes.Equal(sum, slow) {
			t.Fatalf("sum differs, %v", err)
		}
	}
	g, _ := icao.P256{}.Mul(nil, append(make([]byte, 31), 1))
	negative := bytes.Clone(g)
	y := new(big.Int).Sub(nistP256().p, new(big.Int).SetBytes(g[33:]))
	y.FillBytes(negative[33:])
	off := bytes.Clone(g)
	off[64] ^= 1
	if _, err := (icao.P256{}).Add(g, negative); err == nil {
		t.Error("the point at infinity is accepted")
	}
	for name, p := range map[string][]byte{"off the curve": off, "compressed": g[:33], "empty": {}, "infinity": {0}} {
		if _, err := (icao.P256{}).Mul(p, append(make([]byte, 31), 2)); err == nil {
			t.Errorf("a point %s is accepted", name)
		}
	}
	if icao.ScalarIn(icao.P256Order, icao.P256Order) || icao.ScalarIn(make([]byte, 32), icao.P256Order) || icao.ScalarIn(nil, icao.P256Order) {
		t.Error("a scalar out of range is accepted")
	}
}
