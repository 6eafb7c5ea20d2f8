package vault

import (
	"bytes"
	"context"
	"fmt"
)

// addMRZ adds document number and dates out of the MRZ information: each is
// followed by its check digit, which stays behind.
func (e elements) addMRZ(information string) {
	n := len(information) - 15 // where the document number ends
	e[SecretMRZDocumentNumber] = []byte(information[:n])
	e[SecretMRZBirthDate] = []byte(information[n+1 : n+7])
	e[SecretMRZExpiryDate] = []byte(information[n+8 : n+14])
}

// addDigits adds what follows from other elements, and is not sealed for that:
// CAN, PIN and PUK without a try limit.
func (e elements) addDigits() {
	if can := e[SecretPACECAN]; can != nil {
		e[SecretCANDigits] = bytes.Clone(can)
	}
	for digits, limited := range map[string]string{SecretPINDigits: SecretPIN, SecretPUKDigits: SecretPUK} {
		if v := e[limited]; len(v) > 1 {
			e[digits] = bytes.Clone(v[1:])
		}
	}
}

// plainMark is sealed with the secrets of a card that is personalized in the
// clear.
const plainMark = "plain"

func (s *Service) plainSecrets(ctx context.Context, in *plainSecretsRequest) (*plainSecretsReply, error) {
	for _, name := range in.Names {
		if !plainElements[name] {
			return nil, fmt.Errorf("%w: %q is no element that leaves the vault in the clear", ErrRequest, name)
		}
	}
	e, err := s.cardSecrets(ctx, in.Item)
	if err != nil {
		return nil, err
	}
	defer e.zero()
	if e[plainMark] == nil {
		return nil, fmt.Errorf("%w: the card is not one that is personalized in the clear", ErrRequest)
	}
	out := &plainSecretsReply{Values: make(map[string][]byte, len(in.Names))}
	for _, name := range in.Names {
		value, ok := e[name]
		if !ok {
			out.Zero()
			return nil, fmt.Errorf("%w: the card's secrets have no element %q", ErrRequest, name)
		}
		out.Values[name] = bytes.Clone(value)
	}
	return out, nil
}
