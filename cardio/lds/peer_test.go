package lds

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/asn1"
	"fmt"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/lds/ec"
	"cardbureau/cardio/tlv"
)

// peer is a chip for what the software card does not offer: every curve and
// cipher, and files past 32,767 bytes. Its framing is its own; arithmetic and
// ciphers are those that known answers cover.
type peer struct {
	t        testing.TB
	password Password
	curve    *ec.Curve
	cipher   Cipher
	oid      []byte
	file     []byte
	chipKey  []byte // private key of chip authentication
	caCipher Cipher

	secured *SecureMessaging // keys and counter alone
	next    *SecureMessaging // after the answer to this command
	step    int
	gen     []byte
	key     []byte // ephemeral
	point   []byte
	theirs  []byte
	secret  []byte
	renew   bool
}

func (p *peer) Transmit(_ context.Context, raw []byte) ([]byte, error) {
	c, err := apdu.Parse(raw)
	if err != nil {
		return nil, err
	}
	if c.CLA&0x0C == 0 {
		data, sw := p.process(c)
		return apdu.Response{Data: data, SW: sw}.Bytes(), nil
	}
	if p.renew {
		p.secured, p.next, p.renew = p.next, nil, false
	}
	s := p.secured
	if s == nil {
		return []byte{0x69, 0x88}, nil
	}
	plain, ok := p.unprotect(c)
	if !ok {
		p.secured = nil
		return []byte{0x69, 0x88}, nil
	}
	data, sw := p.process(plain)
	if p.next != nil {
		p.renew = true
	}
	return apdu.Response{Data: protect(s, c.INS&1 == 1, data, sw), SW: sw}.Bytes(), nil
}

func (p *peer) unprotect(c apdu.Command) (apdu.Command, bool) {
	s := p.secured
	increment(s.ssc)
	size := s.block.BlockSize()
	plain := apdu.Command{INS: c.INS, P1: c.P1, P2: c.P2}
	m := pad(append(append([]byte{}, s.ssc...), c.CLA, c.INS, c.P1, c.P2), size)
	objects, err := tlv.Parse(c.Data)
	if err != nil {
		return plain, false
	}
	for _, o := range objects {
		switch o.Tag {
		case tagMAC:
			want := s.mac.sum(pad(m, size))
			return plain, bytes.Equal(want[:], o.Value)
		case tagLe:
			for _, b := range o.Value {
				plain.Ne = plain.Ne<<8 | int(b)
			}
			if plain.Ne == 0 {
				plain.Ne = 1 << (8 * len(o.Value))
			}
		case tagEncrypted, tagEncryptedOdd:
			body := o.Value
			if o.Tag == tagEncrypted {
				body = body[1:]
			}
			data := make([]byte, len(body))
			cipher.NewCBCDecrypter(s.block, s.iv()).CryptBlocks(data, body)
			plain.Data, _ = unpad(data)
		}
		m = tlv.Append(m, o.Tag, o.Value)
	}
	return plain, false
}

// protect makes an answer's data objects.
func protect(s *SecureMessaging, odd bool, data []byte, sw apdu.StatusWord) []byte {
	increment(s.ssc)
	size := s.block.BlockSize()
	var out []byte
	if len(data) > 0 {
		body := pad(append([]byte{}, data...), size)
		cipher.NewCBCEncrypter(s.block, s.iv()).CryptBlocks(body, body)
		if odd {
			out = tlv.Append(out, tagEncryptedOdd, body)
		} else {
			out = tlv.Append(out, tagEncrypted, append([]byte{1}, body...))
		}
	}
	out = tlv.Append(out, tagStatus, []byte{sw.SW1(), sw.SW2()})
	mac := s.mac.sum(pad(append(append([]byte{}, s.ssc...), out...), size))
	return tlv.Append(out, tagMAC, mac[:])
}

func (p *peer) process(c apdu.Command) ([]byte, apdu.StatusWord) {
	switch c.INS {
	case 0x22:
		p.step = 0
		if c.P2 == 0xA6 { // MSE:Set KAT
			public, _ := tlv.Find(c.Data, 0x91)
			return nil, p.chipAuth(public)
		}
		return nil, apdu.SWSuccess
	case 0x86:
		return p.authenticate(c)
	case 0xA4:
		return nil, apdu.SWSuccess
	case 0xB0:
		return p.read(int(c.P1)<<8|int(c.P2), c.Ne)
	case 0xB1:
		at, _ := tlv.Find(c.Data, 0x54)
		offset := 0
		for _, b := range at {
			offset = offset<<8 | int(b)
		}
		n := c.Ne - 2
		for ; len(tlv.Encode(0x53, make([]byte, n))) > c.Ne; n-- {
		}
		data, sw := p.read(offset, n)
		return tlv.Encode(0x53, data), sw
	}
	return nil, apdu.SWInstructionNotSupported
}

func (p *peer) read(offset, n int) ([]byte, apdu.StatusWord) {
	if offset > len(p.file) {
		return nil, apdu.SWWrongP1P2
	}
	if offset+n > len(p.file) {
		return p.file[offset:], apdu.SWEndOfFile
	}
	return p.file[offset : offset+n], apdu.SWSuccess
}

func (p *peer) chipAuth(public []byte) apdu.StatusWord {
	shared, err := p.curve.Mult(p.chipKey, public)
	if err != nil {
		return apdu.SWWrongData
	}
	p.next, _ = sessionFrom(nil, p.caCipher, p.curve.XOf(shared))
	return apdu.SWSuccess
}

func (p *peer) authenticate(c apdu.Command) ([]byte, apdu.StatusWord) {
	in, _ := tlv.Find(c.Data, 0x7C)
	get := func(tag tlv.Tag) []byte { v, _ := tlv.Find(in, tag); return v }
	answer := func(tag tlv.Tag, v []byte) ([]byte, apdu.StatusWord) {
		p.step++
		return tlv.Encode(0x7C, tlv.Encode(tag, v)), apdu.SWSuccess
	}
	if p.secured != nil {
		return []byte{0x7C, 0}, p.chipAuth(get(0x80))
	}
	must := func(b []byte, err error) []byte {
		if err != nil {
			p.t.Fatal(err)
		}
		return b
	}
	switch p.step {
	case 0:
		p.secret = make([]byte, 32)
		_, _ = rand.Read(p.secret)
		block, _ := p.cipher.block(p.cipher.derive(p.password.secret, counterPi))
		z := make([]byte, 32)
		cipher.NewCBCEncrypter(block, make([]byte, block.BlockSize())).CryptBlocks(z, p.secret)
		return answer(0x80, z)
	case 1:
		k, _ := p.curve.NewScalar(rand.Reader)
		h := must(p.curve.Mult(k, get(0x81)))
		p.gen = must(p.curve.Add(h, must(p.curve.BaseMult(p.curve.Scalar(p.secret)))))
		return answer(0x82, must(p.curve.BaseMult(k)))
	case 2:
		p.key, _ = p.curve.NewScalar(rand.Reader)
		p.theirs = get(0x83)
		p.point = must(p.curve.Mult(p.key, p.gen))
		return answer(0x84, p.point)
	}
	shared := p.curve.XOf(must(p.curve.Mult(p.key, p.theirs)))
	token := func(point []byte) []byte {
		m, _ := p.cipher.mac(p.cipher.derive(shared, counterMAC))
		input := tlv.Encode(0x7F49, tlv.Encode(6, p.oid), tlv.Encode(0x86, point))
		if p.cipher == TripleDES {
			input = pad(input, 8)
		}
		t := m.sum(input)
		return t[:]
	}
	if !bytes.Equal(get(0x85), token(p.point)) {
		return nil, apdu.SWAuthenticationFailed
	}
	p.secured, _ = sessionFrom(nil, p.cipher, shared)
	return answer(0x86, token(p.theirs))
}

// Every standardized curve with every cipher, and chip authentication in the
// new session; then a file past 32,767 bytes, in short and in extended reads.
func TestEveryCurveAndCipher(t *testing.T) {
	file := tlv.Encode(0x75, bytes.Repeat([]byte("0123456789abcdef"), 4300))
	password, err := CAN("123456")
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for i, curve := range ec.All() {
		for c := TripleDES; c <= AES256; c++ {
			if i%4 != int(c)-1 && curve.ID != 12 && curve.ID != 13 {
				continue // every curve once, two with all ciphers
			}
			t.Run(fmt.Sprintf("%s %s", curve.Name, c), func(t *testing.T) {
				infos := &SecurityInfos{PACE: []PACEInfo{{OID: append(append(asn1.ObjectIdentifier{}, oidPACE...), 2, int(c)),
					Version: 2, Parameter: curve.ID, EC: true, Mapping: GenericMapping, Cipher: c}}}
				oid, _ := oidContent(infos.PACE[0].OID)
				chip := &peer{t: t, password: password, curve: curve, cipher: c, caCipher: AES256 - c + 1, oid: oid, file: file}
				chip.chipKey, _ = curve.NewScalar(rand.Reader)
				public, _ := curve.BaseMult(chip.chipKey)
				sm, err := OpenPACE(ctx, chip, password, infos)
				if err != nil {
					t.Fatal(err)
				}
				dg14 := &SecurityInfos{
					ChipAuth: []ChipAuthenticationInfo{{OID: append(append(asn1.ObjectIdentifier{}, oidChipAuth...), 2, int(chip.caCipher)),
						Version: 1, KeyID: -1, EC: true, Cipher: chip.caCipher}},
					PublicKeys: []ChipAuthenticationPublicKeyInfo{{KeyID: 300, Curve: curve, Point: public}},
				}
				next, err := ChipAuthentication(ctx, sm, dg14)
				if err != nil {
					t.Fatal(err)
				}
				if next.Cipher() != chip.caCipher {
					t.Errorf("the new session has %v", next.Cipher())
				}
				if _, err := sm.Exchange(ctx, []apdu.Command{selectFile(FileCOM)}); err == nil {
					t.Error("the old session still works")
				}
				for _, block := range []int{0, 1000, 60000} {
					got, err := Reader{Card: next, Block: block}.Files(ctx, File{ID: 0x0102})
					if err != nil || !bytes.Equal(got[0], file) {
						t.Fatalf("block %d: %v", block, err)
					}
				}
				got, err := Reader{Card: next}.Files(ctx, File{ID: 0x0102, Size: len(file)})
				if err != nil || !bytes.Equal(got[0], file) {
					t.Fatal(err)
				}
			})
		}
	}
}
