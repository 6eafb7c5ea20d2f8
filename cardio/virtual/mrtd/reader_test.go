package mrtd

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1"
	"errors"
	"math/big"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/icao"
)

// reader is a terminal as far as these tests need one. It has its own curve
// arithmetic, its own secure messaging frames and its own key schedule; MAC
// and block ciphers it shares with the chip, which known answers cover.
type reader struct {
	*chip
	extended   bool
	enc, mac   []byte // session keys, nil: none
	ssc        *big.Int
	tripleDES  bool
	lastRaw    []byte // the last protected command as sent
	lastAnswer []byte
}

func newReader(c *chip) *reader { return &reader{chip: c} }

func (r *reader) block() int {
	if r.tripleDES {
		return 8
	}
	return 16
}

func (r *reader) next() []byte {
	r.ssc.Add(r.ssc, big.NewInt(1))
	return r.ssc.FillBytes(make([]byte, r.block()))
}

func (r *reader) crypt(ssc, data []byte, encrypt bool) []byte {
	var b cipher.Block
	iv := make([]byte, r.block())
	if r.tripleDES {
		b = icao.NewTripleDES(r.enc)
	} else {
		b, _ = aes.NewCipher(r.enc)
		b.Encrypt(iv, ssc)
	}
	out := make([]byte, len(data))
	if encrypt {
		cipher.NewCBCEncrypter(b, iv).CryptBlocks(out, data)
	} else {
		cipher.NewCBCDecrypter(b, iv).CryptBlocks(out, data)
	}
	return out
}

func (r *reader) sum(message []byte) []byte {
	if r.tripleDES {
		m := icao.NewRetailMAC(r.mac).MAC(message)
		return m[:]
	}
	t := icao.NewCMAC(r.mac).Sum(icao.Pad(message, 16))
	return t[:8]
}

func lengthField(n int) []byte {
	switch {
	case n < 0x80:
		return []byte{byte(n)}
	case n < 0x100:
		return []byte{0x81, byte(n)}
	}
	return []byte{0x82, byte(n >> 8), byte(n)}
}

// protect builds a protected command.
func (r *reader) protect(ins, p1, p2 byte, data []byte, ne int) []byte {
	ssc := r.next()
	var objects []byte
	if len(data) > 0 {
		c := r.crypt(ssc, icao.Pad(data, r.block()), true)
		if ins&1 == 1 {
			objects = append(append(append(objects, 0x85), lengthField(len(c))...), c...)
		} else {
			objects = append(append(append(objects, 0x87), lengthField(len(c)+1)...), append([]byte{1}, c...)...)
		}
	}
	switch {
	case ne == 0:
	case r.extended:
		objects = append(objects, 0x97, 2, byte(ne>>8), byte(ne))
	default:
		objects = append(objects, 0x97, 1, byte(ne))
	}
	header := []byte{0x0C, ins, p1, p2}
	m := append(append(append([]byte{}, ssc...), icao.Pad(header, r.block())...), objects...)
	objects = append(append(objects, 0x8E, 8), r.sum(m)...)
	outer := apdu.Command{CLA: 0x0C, INS: ins, P1: p1, P2: p2, Data: objects, Ne: 256}
	if r.extended {
		outer.Extended, outer.Ne = true, 65536
	}
	b, err := outer.Bytes()
	if err != nil {
		r.t.Fatal(err)
	}
	r.lastRaw = b
	return b
}

var errUnprotected = errors.New("the answer is not protected")

// unprotect checks a protected answer by its fixed layout.
func (r *reader) unprotect(answer []byte) ([]byte, apdu.StatusWord, error) {
	resp, err := apdu.ParseResponse(answer)
	if err != nil {
		return nil, 0, err
	}
	if len(resp.Data) == 0 {
		return nil, resp.SW, errUnprotected
	}
	ssc := r.next()
	n := len(resp.Data)
	if n < 14 || !bytes.Equal(resp.Data[n-10:n-8], []byte{0x8E, 8}) || !bytes.Equal(resp.Data[n-14:n-12], []byte{0x99, 2}) {
		return nil, resp.SW, errors.New("no DO'99' DO'8E' at the end")
	}
	if !bytes.Equal(r.sum(append(append([]byte{}, ssc...), resp.Data[:n-10]...)), resp.Data[n-8:]) {
		return nil, resp.SW, errors.New("wrong MAC of the answer")
	}
	if sw := apdu.StatusWord(resp.Data[n-12])<<8 | apdu.StatusWord(resp.Data[n-11]); sw != resp.SW {
		return nil, resp.SW, errors.New("two status words differ")
	}
	body := resp.Data[:n-14]
	if len(body) == 0 {
		return nil, resp.SW, nil
	}
	tag, rest := body[0], body[2:]
	switch body[1] {
	case 0x81:
		rest = body[3:]
	case 0x82:
		rest = body[4:]
	}
	if tag == 0x87 {
		if rest[0] != 1 {
			return nil, resp.SW, errors.New("no padding indicator")
		}
		rest = rest[1:]
	}
	plain := r.crypt(ssc, rest, false)
	i := bytes.LastIndexByte(plain, 0x80)
	return plain[:i], resp.SW, nil
}

// send sends a command, protected where there is a session.
func (r *reader) send(ins, p1, p2 byte, data []byte, ne int) ([]byte, apdu.StatusWord) {
	r.t.Helper()
	if r.enc == nil {
		return r.plain(0, ins, p1, p2, data, ne)
	}
	r.lastAnswer = r.transmit(r.protect(ins, p1, p2, data, ne))
	out, sw, err := r.unprotect(r.lastAnswer)
	if errors.Is(err, errUnprotected) {
		return nil, sw // the chip gave up secure messaging
	}
	if err != nil {
		r.t.Fatalf("answer to %02X%02X%02X: %v", ins, p1, p2, err)
	}
	return out, sw
}

func (r *reader) plain(cla, ins, p1, p2 byte, data []byte, ne int) ([]byte, apdu.StatusWord) {
	r.t.Helper()
	b, err := apdu.Command{CLA: cla, INS: ins, P1: p1, P2: p2, Data: data, Ne: ne, Extended: r.extended}.Bytes()
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := apdu.ParseResponse(r.transmit(b))
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.Data, resp.SW
}

func (r *reader) start(secret []byte, ssc []byte, tripleDES bool) {
	derive := func(c byte) []byte {
		h := sha1.Sum(append(append([]byte{}, secret...), 0, 0, 0, c))
		return h[:16]
	}
	r.enc, r.mac, r.tripleDES = derive(1), derive(2), tripleDES
	r.ssc = new(big.Int).SetBytes(ssc)
}

func mrzSeed(mrz string) []byte {
	h := sha1.Sum([]byte(mrz))
	return h[:]
}

func (r *reader) selectApplication() apdu.StatusWord {
	_, sw := r.send(0xA4, 0x04, 0x0C, aid, 0)
	return sw
}

func (r *reader) selectFile(id fid) apdu.StatusWord {
	_, sw := r.send(0xA4, 0x02, 0x0C, []byte{byte(id >> 8), byte(id)}, 0)
	return sw
}

// bac runs Basic Access Control.
func (r *reader) bac(mrz string) apdu.StatusWord {
	seed := mrzSeed(mrz)[:16]
	rndIC, sw := r.send(0x84, 0, 0, nil, 8)
	if !sw.OK() {
		return sw
	}
	s := make([]byte, 32)
	_, _ = rand.Read(s)
	copy(s[8:], rndIC)
	return r.bacAuthenticate(icao.KDF(seed, 1), icao.KDF(seed, 2), s)
}

// bacAuthenticate sends EXTERNAL AUTHENTICATE for S = RND.IFD ‖ RND.IC ‖ K.IFD.
func (r *reader) bacAuthenticate(kEnc, kMac, s []byte) apdu.StatusWord {
	iv := make([]byte, 8)
	e := make([]byte, 32)
	cipher.NewCBCEncrypter(icao.NewTripleDES(kEnc), iv).CryptBlocks(e, s)
	m := icao.NewRetailMAC(kMac).MAC(e)
	out, sw := r.send(0x82, 0, 0, append(e, m[:]...), 40)
	if !sw.OK() {
		return sw
	}
	if want := icao.NewRetailMAC(kMac).MAC(out[:32]); !bytes.Equal(want[:], out[32:]) {
		r.t.Fatal("M_IC is wrong")
	}
	back := make([]byte, 32)
	cipher.NewCBCDecrypter(icao.NewTripleDES(kEnc), iv).CryptBlocks(back, out[:32])
	if !bytes.Equal(back[:8], s[8:16]) || !bytes.Equal(back[8:16], s[:8]) {
		r.t.Fatal("the chip answers other challenges")
	}
	secret := make([]byte, 16)
	for i := range secret {
		secret[i] = s[16+i] ^ back[16+i]
	}
	r.start(secret, append(append([]byte{}, s[12:16]...), s[4:8]...), true)
	return sw
}

func tlv1(tag byte, value []byte) []byte {
	return append(append([]byte{tag}, lengthField(len(value))...), value...)
}

func (r *reader) setPACE(password byte) apdu.StatusWord {
	_, sw := r.plain(0, 0x22, 0xC1, 0xA4, append(tlv1(0x80, oidPACE), 0x83, 1, password), 0)
	return sw
}

// step sends one GENERAL AUTHENTICATE of PACE in plain.
func (r *reader) step(cla, tag byte, value []byte) ([]byte, apdu.StatusWord) {
	inner := []byte{}
	if value != nil {
		inner = tlv1(tag, value)
	}
	out, sw := r.plain(cla, 0x86, 0, 0, tlv1(0x7C, inner), 256)
	if sw.OK() && len(out) > 4 {
		out = out[4:] // 7C L tag L
	}
	return out, sw
}

// pace runs PACE with a password: the SHA-1 of the MRZ, or the CAN.
func (r *reader) pace(reference byte, password []byte) apdu.StatusWord {
	if sw := r.setPACE(reference); !sw.OK() {
		return sw
	}
	curve := nistP256()
	z, sw := r.step(0x10, 0, nil)
	if !sw.OK() {
		return sw
	}
	k, _ := aes.NewCipher(icao.KDF(password, 3))
	s := make([]byte, 16)
	k.Decrypt(s, z)

	private := randomScalar(curve)
	public, _ := curve.Mul(nil, private)
	chipMap, sw := r.step(0x10, 0x81, public)
	if !sw.OK() {
		return sw
	}
	h, err := curve.Mul(chipMap, private)
	if err != nil {
		r.t.Fatal(err)
	}
	sG, _ := curve.Mul(nil, append(make([]byte, 16), s...))
	generator, _ := curve.Add(sG, h)

	private = randomScalar(curve)
	public, _ = curve.Mul(generator, private)
	chipKey, sw := r.step(0x10, 0x83, public)
	if !sw.OK() {
		return sw
	}
	shared, err := curve.Mul(chipKey, private)
	if err != nil {
		r.t.Fatal(err)
	}
	secret := shared[1:33]
	token := func(point []byte) []byte {
		body := append(tlv1(0x06, oidPACE), tlv1(0x86, point)...)
		t := icao.NewCMAC(icao.KDF(secret, 2)).Sum(append(append([]byte{0x7F, 0x49}, lengthField(len(body))...), body...))
		return t[:8]
	}
	chipToken, sw := r.step(0x00, 0x85, token(chipKey))
	if !sw.OK() {
		return sw
	}
	if !bytes.Equal(chipToken, token(public)) {
		r.t.Fatal("the chip's token is wrong")
	}
	r.start(secret, []byte{0}, false)
	return sw
}

// chipAuthentication runs chip authentication against a public key; r has
// the new session afterwards.
func (r *reader) chipAuthentication(chipPublic []byte, mechanism []byte, reference []byte) apdu.StatusWord {
	curve := nistP256()
	private := randomScalar(curve)
	public, _ := curve.Mul(nil, private)
	suffix := []byte{}
	if reference != nil {
		suffix = tlv1(0x84, reference)
	}
	tripleDES := mechanism == nil || bytes.Equal(mechanism, oidChip3DES)
	if mechanism == nil {
		if _, sw := r.send(0x22, 0x41, 0xA6, append(tlv1(0x91, public), suffix...), 0); !sw.OK() {
			return sw
		}
	} else {
		if _, sw := r.send(0x22, 0x41, 0xA4, append(tlv1(0x80, mechanism), suffix...), 0); !sw.OK() {
			return sw
		}
		out, sw := r.send(0x86, 0, 0, tlv1(0x7C, tlv1(0x80, public)), 256)
		if !sw.OK() {
			return sw
		}
		if !bytes.Equal(out, []byte{0x7C, 0}) {
			r.t.Fatalf("chip authentication answers %X", out)
		}
	}
	shared, err := curve.Mul(chipPublic, private)
	if err != nil {
		r.t.Fatal(err)
	}
	r.start(shared[1:33], []byte{0}, tripleDES)
	return apdu.SWSuccess
}

// readFile selects a file and reads it as readers do: header, then pieces.
func (r *reader) readFile(id fid, piece int) []byte {
	r.t.Helper()
	must(r.t, r.selectFile(id), apdu.SWSuccess)
	head, sw := r.send(0xB0, 0, 0, nil, 4)
	must(r.t, sw, apdu.SWSuccess)
	size := len(tlvWhole(head))
	out := head
	for len(out) < size {
		part, sw := r.send(0xB0, byte(len(out)>>8), byte(len(out)), nil, min(piece, size-len(out)))
		must(r.t, sw, apdu.SWSuccess)
		if len(part) == 0 {
			r.t.Fatal("the chip answers nothing")
		}
		out = append(out, part...)
	}
	return out
}

// tlvWhole is as long as the object that begins with head.
func tlvWhole(head []byte) []byte {
	switch head[1] {
	case 0x81:
		return make([]byte, 3+int(head[2]))
	case 0x82:
		return make([]byte, 4+int(head[2])<<8+int(head[3]))
	}
	return make([]byte, 2+int(head[1]))
}
