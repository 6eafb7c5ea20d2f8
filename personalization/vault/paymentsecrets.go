package vault

import (
	"context"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"

	"cardbureau/cardio/emv/oda"
	"cardbureau/hsm"
	"cardbureau/personalization/payment/pinblock"
)

// iCVV and CVV2 take these in the service code's place.
const (
	serviceICVV = "999"
	serviceCVV2 = "000"
)

func (s *Service) newPaymentSecrets(ctx context.Context, in *PaymentSecretsRequest) (*PaymentSecrets, error) {
	account, err := accountBlock(in.Option, in.PAN, in.Sequence)
	if err != nil {
		return nil, err
	}
	e := elements{}
	defer e.zero()
	if err := s.addMasterKeys(ctx, e, in, account); err != nil {
		return nil, err
	}
	out := &PaymentSecrets{}
	if err := s.addPIN(ctx, e, in, out); err != nil {
		return nil, err
	}
	values, err := s.cvv(ctx, in.CVK, in.PAN, in.Expiry, in.ServiceCode, serviceICVV, serviceCVV2)
	if err != nil {
		return nil, err
	}
	out.Values.CVV, out.Values.ICVV, out.Values.CVV2 = values[0], values[1], values[2]
	if err := s.addSignatures(ctx, e, in, out); err != nil {
		return nil, err
	}
	plain, err := cbor.Marshal(map[string][]byte(e))
	if err != nil {
		return nil, fmt.Errorf("encode the payment application's secrets: %w", err)
	}
	defer clear(plain)
	err = s.withDataKey(ctx, in.DataKey, func(key *hsm.AESKey) (err error) {
		out.Sealed, err = sealWith(ctx, key, kindSecrets, in.AAD, plain)
		return err
	})
	return out, err
}

func (s *Service) addMasterKeys(ctx context.Context, e elements, in *PaymentSecretsRequest, account []byte) error {
	for _, role := range []string{RoleIMKAC, RoleIMKSMI, RoleIMKSMC} {
		k, err := s.iccMasterKey(ctx, role, in.MasterKey, in.Option, account)
		if err != nil {
			return err
		}
		e[SecretEMVKeys] = append(e[SecretEMVKeys], k...)
		clear(k)
	}
	if in.Option == "C" {
		e[emvAES] = []byte{1}
	}
	var err error
	e[SecretEMVDynamic], err = s.iccMasterKey(ctx, RoleIMKDN, in.MasterKey, in.Option, account)
	return err
}

// addPIN draws the PIN, or derives it, and makes what verifies it.
func (s *Service) addPIN(ctx context.Context, e elements, in *PaymentSecretsRequest, out *PaymentSecrets) error {
	if in.PINLength < 4 || in.PINLength > 12 {
		return fmt.Errorf("%w: a PIN has 4 to 12 digits", ErrRequest)
	}
	random := &tokenReader{ctx: ctx, token: s.token}
	defer random.forget()
	pin, err := randomPIN(random, in.PINLength)
	if err != nil {
		return err
	}
	defer clear(pin)
	if in.PINMethod == "ibm3624" {
		natural, err := s.naturalPIN(ctx, in.PVK, in.PAN, in.PINLength)
		if err != nil {
			return err
		}
		out.Values.Offset = offsetOf(pin, natural)
		clear(natural)
	}
	if in.PVKI > 0 {
		if out.Values.PVV, err = s.pvv(ctx, in.PVK, in.PAN, in.PVKI, pin); err != nil {
			return err
		}
	}
	if e[SecretEMVPINBlock], err = pinblock.Encode(2, pin, "", nil); err != nil {
		return err
	}
	mailers, err := s.sealingKey(ctx, RoleMailer)
	if err != nil {
		return err
	}
	out.Mailer, err = sealWith(ctx, mailers, kindMailer, in.MailerAAD, pin)
	return err
}

// randomPIN draws digits that are all equally likely, and again where they are ones
// that anybody would try first: all the same, or one up or down from the last.
func randomPIN(random io.Reader, length int) ([]byte, error) {
	one := make([]byte, 1)
	for {
		pin := make([]byte, 0, length)
		for len(pin) < length {
			if _, err := io.ReadFull(random, one); err != nil {
				return nil, err
			}
			if one[0] < 250 {
				pin = append(pin, '0'+one[0]%10)
			}
		}
		if !weakPIN(pin) {
			return pin, nil
		}
		clear(pin)
	}
}

func weakPIN(pin []byte) bool {
	for _, step := range []byte{0, 1, 0xFF} {
		all := true
		for i := 1; i < len(pin); i++ {
			all = all && pin[i] == pin[i-1]+step
		}
		if all {
			return true
		}
	}
	return false
}

// addSignatures takes the card's RSA key, or makes one, and has the issuer sign.
func (s *Service) addSignatures(ctx context.Context, e elements, in *PaymentSecretsRequest, out *PaymentSecrets) error {
	if in.XDA {
		if in.SDA || in.DDA {
			return fmt.Errorf("%w: a card's keys are of RSA or of elliptic curves", ErrRequest)
		}
		return s.addXDA(ctx, e, in, out)
	}
	if !in.SDA && !in.DDA {
		return nil
	}
	issuer, public, err := s.issuer(ctx)
	if err != nil {
		return err
	}
	if in.SDA {
		dac := [2]byte{0xDA, 0xC0} // a constant: the bank checks nothing by it
		if out.Static, err = (oda.StaticData{DAC: dac, Data: in.StaticData}).Sign(ctx, public, issuer.Private); err != nil {
			return err
		}
	}
	if !in.DDA {
		return nil
	}
	var key *crt
	if len(in.Key.Sealed) > 0 {
		key, err = s.pooled(ctx, in.Key)
	} else {
		key, err = newCRT(in.Bits, in.Exponent)
	}
	if err != nil {
		return err
	}
	if len(key.Modulus)*8 != in.Bits {
		key.zero()
		return fmt.Errorf("%w: the ICC key has %d bits, the scheme asks for %d", ErrRequest, len(key.Modulus)*8, in.Bits)
	}
	// The elements take the parts over and are zeroed in the end.
	e[SecretEMVP], e[SecretEMVQ], e[SecretEMVDP], e[SecretEMVDQ], e[SecretEMVQInv] = key.P, key.Q, key.DP, key.DQ, key.QInv
	certificate := oda.ICCCertificate{
		PAN: in.PAN, Expiry: in.Expiry[2:] + in.Expiry[:2], Key: oda.PublicKey{Modulus: key.Modulus, Exponent: key.Exponent}, StaticData: in.StaticData,
	}
	if _, err := io.ReadFull(&tokenReader{ctx: ctx, token: s.token}, certificate.Serial[:]); err != nil {
		return err
	}
	out.ICC, out.ICCRemainder, err = certificate.Sign(ctx, public, issuer.Private)
	out.ICCExponent = key.Exponent
	return err
}

// issuer is the issuer's RSA key.
func (s *Service) issuer(ctx context.Context) (*hsm.RSAKey, oda.PublicKey, error) {
	l, err := roleLabel(RoleEMVIssuer, "1")
	if err != nil {
		return nil, oda.PublicKey{}, err
	}
	k, err := s.token.RSA(ctx, l)
	if err != nil {
		return nil, oda.PublicKey{}, err
	}
	return k, publicOf(k), nil
}

// NewPaymentSecrets makes all that is secret or signed of one card's payment
// application: ICC master keys (Book 2, A1.4), PIN, verification values, and, with
// a key of the pool or a new one, the issuer's signatures. ErrNoKey where the token
// lacks one of the bank's keys.
func (c *Client) NewPaymentSecrets(ctx context.Context, req PaymentSecretsRequest) (PaymentSecrets, error) {
	out, _, err := call[PaymentSecrets](ctx, c, methodNewPaymentSecrets, req)
	return out, err
}
