package gp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Ciphers of a Diversification.
const (
	DiversifyNone    = "none"     // the keys are what they are on every card
	DiversifyDES3ECB = "3des-ecb" // triple DES of the input
	DiversifyAESECB  = "aes-ecb"  // AES of the input
	DiversifyAESCMAC = "aes-cmac" // AES-CMAC of the input, once a block of the key
)

// Diversification says how a card's static keys follow from a master key, as
// data: what goes into which cipher.
type Diversification struct {
	// Cipher is DiversifyNone or one of the others.
	Cipher string
	// Input is what is enciphered: words with spaces between them, whose bytes
	// are put together. A word is hexadecimal digits; kdd, the 10 bytes of key
	// diversification data that INITIALIZE UPDATE answers; kdd[4..9], its bytes 4
	// to 9; key, one byte 01, 02 or 03 for ENC, MAC or DEK; or counter, one byte
	// from 01 that numbers the blocks of the key (aes-cmac alone). Of the ciphers
	// with ECB it has as many bytes as the key: 16, 24 or 32, and with aes-ecb 32
	// for a key of 24. Empty with DiversifyNone.
	Input string
}

const (
	kddLen         = 10
	maxInputWords  = 64
	maxInputLength = 255 // bytes that a template may come to
)

// word is one part of a template.
type word struct {
	literal  []byte
	kdd      bool
	from, to int // of kdd: [from, to)
	key      bool
	counter  bool
}

func (w word) length() int {
	switch {
	case w.kdd:
		return w.to - w.from
	case w.literal != nil:
		return len(w.literal)
	}
	return 1
}

// Validate tells in a sentence what is wrong with a diversification.
func (d Diversification) Validate() error {
	_, err := d.parse()
	return err
}

func (d Diversification) parse() ([]word, error) {
	switch d.Cipher {
	case DiversifyNone:
		if strings.TrimSpace(d.Input) != "" {
			return nil, errors.New(`diversification "none" takes no input`)
		}
		return nil, nil
	case DiversifyDES3ECB, DiversifyAESECB, DiversifyAESCMAC:
	case "":
		return nil, errors.New("the diversification names no cipher: use none, 3des-ecb, aes-ecb or aes-cmac")
	default:
		return nil, fmt.Errorf("the diversification's cipher %q is not known: use none, 3des-ecb, aes-ecb or aes-cmac", d.Cipher)
	}
	fields := strings.Fields(d.Input)
	if len(fields) > maxInputWords {
		return nil, fmt.Errorf("the diversification's input has %d words, at most %d make sense", len(fields), maxInputWords)
	}
	words := make([]word, 0, len(fields))
	total, perCard := 0, false
	for _, f := range fields {
		w, err := parseWord(f)
		if err != nil {
			return nil, err
		}
		if w.counter && d.Cipher != DiversifyAESCMAC {
			return nil, fmt.Errorf("counter numbers the blocks of aes-cmac: with %s the input holds the whole key", d.Cipher)
		}
		words = append(words, w)
		perCard = perCard || w.kdd
		total += w.length()
	}
	switch {
	case total == 0:
		return nil, fmt.Errorf("the diversification %s has no input", d.Cipher)
	case !perCard:
		return nil, errors.New("the diversification's input does not use kdd: all cards would get the same keys")
	case d.Cipher == DiversifyDES3ECB && total != 16 && total != 24 && total != 32:
		return nil, fmt.Errorf("the input of 3des-ecb is as long as the key, 16, 24 or 32 bytes, and this comes to %d", total)
	case d.Cipher == DiversifyAESECB && total != 16 && total != 32:
		return nil, fmt.Errorf("the input of aes-ecb is whole blocks, 16 or 32 bytes, and this comes to %d", total)
	case total > maxInputLength:
		return nil, fmt.Errorf("the diversification's input comes to %d bytes, at most %d make sense", total, maxInputLength)
	}
	return words, nil
}

func parseWord(f string) (word, error) {
	switch f {
	case "kdd":
		return word{kdd: true, to: kddLen}, nil
	case "key":
		return word{key: true}, nil
	case "counter":
		return word{counter: true}, nil
	}
	if rest, ok := strings.CutPrefix(f, "kdd["); ok {
		rest, closed := strings.CutSuffix(rest, "]")
		first, last, dots := strings.Cut(rest, "..")
		from, err1 := strconv.ParseUint(first, 10, 8)
		to, err2 := strconv.ParseUint(last, 10, 8)
		if !closed || !dots || err1 != nil || err2 != nil {
			return word{}, fmt.Errorf("%q is no range of kdd: write kdd[4..9] for its bytes 4 to 9", f)
		}
		if to >= kddLen || from > to {
			return word{}, fmt.Errorf("%q is not inside kdd, whose bytes are 0 to 9, the lower first", f)
		}
		return word{kdd: true, from: int(from), to: int(to) + 1}, nil
	}
	literal, err := hex.DecodeString(f)
	if err != nil || len(literal) == 0 {
		return word{}, fmt.Errorf("%q is no part of a diversification's input: use hexadecimal bytes, kdd, kdd[4..9], key or counter", f)
	}
	return word{literal: literal}, nil
}

// Inputs are what the master key's cipher is given for the key kind (KeyENC,
// KeyMAC or KeyDEK) of a card with the 10 bytes of key diversification data kdd,
// for a key of size bytes, 16, 24 or 32. With ECB it is one input; with aes-cmac
// one for each 16 bytes of the key. The key is the first size bytes of what the
// cipher makes of them. DiversifyNone has no inputs.
func (d Diversification) Inputs(kind byte, kdd []byte, size int) ([][]byte, error) {
	words, err := d.parse()
	switch {
	case err != nil:
		return nil, err
	case d.Cipher == DiversifyNone:
		return nil, errors.New("undiversified keys are not derived")
	case kind < KeyENC || kind > KeyDEK:
		return nil, fmt.Errorf("gp: %02X is no kind of key", kind)
	case len(kdd) != kddLen:
		return nil, fmt.Errorf("key diversification data has 10 bytes, not %d", len(kdd))
	case size != 16 && size != 24 && size != 32:
		return nil, fmt.Errorf("gp: no card key has %d bytes", size)
	}
	blocks := 1
	if d.Cipher == DiversifyAESCMAC {
		blocks = (size + blockSize - 1) / blockSize
	}
	out := make([][]byte, blocks)
	numbered := false
	for i := range out {
		for _, w := range words {
			switch {
			case w.kdd:
				out[i] = append(out[i], kdd[w.from:w.to]...)
			case w.key:
				out[i] = append(out[i], kind)
			case w.counter:
				out[i] = append(out[i], byte(i+1))
				numbered = true
			default:
				out[i] = append(out[i], w.literal...)
			}
		}
	}
	want := size
	if d.Cipher == DiversifyAESECB {
		want = PaddedKeySize(size)
	}
	switch {
	case blocks > 1 && !numbered:
		return nil, fmt.Errorf("a key of %d bytes takes %d blocks of aes-cmac, and without counter the input of both is the same", size, blocks)
	case d.Cipher != DiversifyAESCMAC && len(out[0]) != want:
		return nil, fmt.Errorf("the diversification's input comes to %d bytes, and a key of %d bytes takes %d of %s", len(out[0]), size, want, d.Cipher)
	}
	return out, nil
}

// Derive makes a static key of size bytes from a master key: a Cipher for the
// AES ciphers, a DESCipher or other BlockCipher of triple DES for 3des-ecb. The
// result is a secret: the caller zeroes it.
func (d Diversification) Derive(ctx context.Context, master BlockCipher, kind byte, kdd []byte, size int) ([]byte, error) {
	inputs, err := d.Inputs(kind, kdd, size)
	if err != nil {
		return nil, err
	}
	aes, isAES := master.(Cipher)
	if isAES == (d.Cipher == DiversifyDES3ECB) {
		return nil, fmt.Errorf("the master key is not one for %s", d.Cipher)
	}
	out := make([]byte, 0, 2*blockSize)
	for _, input := range inputs {
		var part []byte
		if d.Cipher == DiversifyAESCMAC {
			part, err = aes.CMAC(ctx, input)
		} else {
			part, err = ecb(ctx, master, input)
		}
		if err != nil {
			clear(out)
			return nil, err
		}
		out = append(out, part...)
		clear(part)
	}
	if len(out) < size {
		clear(out)
		return nil, fmt.Errorf("gp: the cipher gave %d bytes for a key of %d", len(out), size)
	}
	clear(out[size:])
	return out[:size:size], nil
}
