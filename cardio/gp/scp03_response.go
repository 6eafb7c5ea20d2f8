package gp

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"fmt"

	"cardbureau/cardio/apdu"
)

// Unwrap checks the R-MAC of each response and deciphers its data, as the
// level says (Amendment D 6.2.5 and 6.2.7). The responses belong, in order, to
// the oldest wrapped commands that have none yet.
//
// A status word other than 9000, 62xx and 63xx is an error status: the card
// protects nothing then and may send no data, so such a response is returned
// as it is. It proves nothing about who sent it.
//
// ErrResponseMAC and ErrResponseData end the session; they come in an
// *apdu.ExchangeError that says which response it was, with the good
// responses before it.
func (s *SCP03) Unwrap(ctx context.Context, responses [][]byte) ([]apdu.Response, error) {
	if s.err != nil {
		return nil, s.err
	}
	if len(responses) > len(s.expected) {
		return nil, fmt.Errorf("gp: %d responses for %d commands", len(responses), len(s.expected))
	}
	out := make([]apdu.Response, 0, len(responses))
	var err error
	for _, raw := range responses {
		var r apdu.Response
		if r, err = apdu.ParseResponse(raw); err != nil {
			break
		}
		out = append(out, r)
	}
	if s.level.RMAC() {
		// A response before the malformed one may be at fault as well, and is
		// then the first.
		if good, verr := s.verify(ctx, out); verr != nil {
			out, err = out[:good], verr
		}
	}
	if err != nil {
		err = &apdu.ExchangeError{Index: len(out), Err: err}
		s.err = err
		return out, err
	}
	if err := s.decipher(ctx, out); err != nil {
		s.err = err
		if e, ok := err.(*apdu.ExchangeError); ok {
			return out[:e.Index], err
		}
		return nil, err
	}
	s.expected = s.expected[len(responses):]
	return out, nil
}

// verify checks and removes the R-MACs: over the chaining value of the
// command's C-MAC, the data and the status word. With an error it says how many
// responses before the one at fault were good.
func (s *SCP03) verify(ctx context.Context, responses []apdu.Response) (good int, err error) {
	end := len(responses)
	var inputs [][]byte
	var whose []int
	for i, r := range responses {
		if !protectedStatus(r.SW) {
			if len(r.Data) != 0 {
				end, err = i, fmt.Errorf("%w: %d bytes with status %04X", ErrResponseData, len(r.Data), uint16(r.SW))
				break
			}
			continue
		}
		n := len(r.Data) - int(s.mode)
		if n < 0 {
			end, err = i, ErrResponseMAC
			break
		}
		input := make([]byte, 0, blockSize+n+2)
		input = append(append(input, s.expected[i].chain[:]...), r.Data[:n]...)
		inputs = append(inputs, append(input, byte(r.SW>>8), byte(r.SW)))
		whose = append(whose, i)
	}
	macs, merr := cmacs(ctx, s.srmac, inputs)
	if merr != nil {
		return 0, fmt.Errorf("R-MAC: %w", merr)
	}
	for k, i := range whose {
		r := &responses[i]
		n := len(r.Data) - int(s.mode)
		if subtle.ConstantTimeCompare(macs[k][:s.mode], r.Data[n:]) != 1 {
			return i, ErrResponseMAC
		}
		r.Data = r.Data[:n:n]
	}
	return end, err
}

// decipher opens the data of checked responses in place. A response without
// data is not enciphered.
func (s *SCP03) decipher(ctx context.Context, responses []apdu.Response) error {
	if !s.level.RENC() {
		return nil
	}
	var blocks []byte
	for i, r := range responses {
		if len(r.Data) == 0 {
			continue
		}
		block := make([]byte, blockSize)
		block[0] = 0x80 // what keeps a response's vector apart from its command's
		binary.BigEndian.PutUint64(block[8:], s.expected[i].counter)
		blocks = append(blocks, block...)
	}
	if len(blocks) == 0 {
		return nil
	}
	ivs, err := s.senc.EncryptECB(ctx, blocks)
	if err != nil {
		return fmt.Errorf("initial vectors: %w", err)
	}
	if len(ivs) != len(blocks) {
		return fmt.Errorf("gp: the cipher gave %d bytes for %d", len(ivs), len(blocks))
	}
	// CBC deciphers a block by itself and adds the one before it. So all responses
	// are one operation, and where a response begins, its vector takes the place of
	// the end of the response before.
	var all []byte
	var short error
	end := len(responses)
	for i, r := range responses {
		if len(r.Data)%blockSize != 0 {
			end, short = i, &apdu.ExchangeError{Index: i, Err: fmt.Errorf("%w: %d enciphered bytes", ErrResponseData, len(r.Data))}
			break
		}
		all = append(all, r.Data...)
	}
	if len(all) == 0 {
		return short
	}
	plain, err := s.senc.DecryptCBC(ctx, make([]byte, blockSize), all)
	if err != nil {
		return fmt.Errorf("decipher responses: %w", err)
	}
	if len(plain) != len(all) {
		return fmt.Errorf("gp: the cipher gave %d bytes for %d", len(plain), len(all))
	}
	at := 0
	for i, r := range responses[:end] {
		n := len(r.Data)
		if n == 0 {
			continue
		}
		one := plain[at : at+n : at+n]
		if at > 0 {
			subtle.XORBytes(one, one[:blockSize], all[at-blockSize:at])
		}
		subtle.XORBytes(one, one[:blockSize], ivs[:blockSize])
		ivs, at = ivs[blockSize:], at+n
		if responses[i].Data, err = unpad(one); err != nil {
			return &apdu.ExchangeError{Index: i, Err: err}
		}
	}
	return short
}

// protectedStatus reports whether a response with this status word carries an
// R-MAC: success and warnings do.
func protectedStatus(sw apdu.StatusWord) bool {
	return sw.OK() || sw.SW1() == 0x62 || sw.SW1() == 0x63
}

// unpad removes 80 and zeros from the last block.
func unpad(b []byte) ([]byte, error) {
	for i := len(b) - 1; i >= 0 && i >= len(b)-blockSize; i-- {
		switch b[i] {
		case 0:
		case 0x80:
			return b[:i:i], nil
		default:
			return nil, fmt.Errorf("%w: wrong padding", ErrResponseData)
		}
	}
	return nil, fmt.Errorf("%w: wrong padding", ErrResponseData)
}
