package mrtd

import (
	"bytes"
	"crypto/des" //nolint:gosec // one of the two ciphers of chip authentication

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/icao"
)

// chipKey gives the static private key, if it may be used now: inside the
// application, under secure messaging, and by the reference that DG14 states.
func (a *Applet) chipKey(e virtual.Env, reference []byte, given bool) ([]byte, apdu.StatusWord) {
	if !a.secureMessaging() {
		return nil, apdu.SWSecurityStatusNotSatisfied
	}
	key := e.Memory().Get(dgiChipKey.key())
	if a.at != application || key == nil {
		return nil, apdu.SWReferencedDataNotFound
	}
	if given {
		stated, ok := chipKeyReference(e.Memory().Get(fidDG14.key()))
		if !ok || !bytes.Equal(bytes.TrimLeft(reference, "\x00"), stated) {
			return nil, apdu.SWReferencedDataNotFound
		}
	}
	return key, apdu.SWSuccess
}

// prepareChipAuthentication executes MSE:SET AT: 80 mechanism, 84 key
// reference (Doc 9303-11 clause 6.2.3.2).
func (a *Applet) prepareChipAuthentication(e virtual.Env, values map[tlv.Tag][]byte) apdu.StatusWord {
	mechanism := values[tagMechanism]
	is3DES := sameOID(mechanism, oidChip3DES)
	reference, given := values[tagReference]
	if !onlyTags(values, tagMechanism, tagReference) || !is3DES && !sameOID(mechanism, oidChipAES) {
		return apdu.SWWrongData
	}
	if _, sw := a.chipKey(e, reference, given); !sw.OK() {
		return sw
	}
	a.general = exchange{protocol: protocolChip, chip3DES: is3DES}
	return apdu.SWSuccess
}

// finishChipAuthentication executes GENERAL AUTHENTICATE with the terminal's
// ephemeral key. The answer still goes under the old keys.
func (a *Applet) finishChipAuthentication(e virtual.Env, is3DES bool, data []byte) ([]byte, apdu.StatusWord) {
	point, ok := single(data, tagTerminalPoint)
	if !ok {
		return nil, apdu.SWWrongData
	}
	key, sw := a.chipKey(e, nil, false)
	if !sw.OK() {
		return nil, sw
	}
	if sw := a.renew(key, point, is3DES); !sw.OK() {
		return nil, sw
	}
	return tlv.Encode(tagDynamic), apdu.SWSuccess
}

// agreeKey executes MSE:SET KAT, chip authentication with 3DES in one command:
// 91 ephemeral key, 84 key reference (Doc 9303-11 clause 6.2.3.1).
func (a *Applet) agreeKey(e virtual.Env, values map[tlv.Tag][]byte) apdu.StatusWord {
	reference, given := values[tagReference]
	point, ok := values[tagEphemeral]
	if !ok || !onlyTags(values, tagEphemeral, tagReference) {
		return apdu.SWWrongData
	}
	key, sw := a.chipKey(e, reference, given)
	if !sw.OK() {
		return sw
	}
	return a.renew(key, point, true)
}

// renew agrees on the secret and prepares the new session. Its counter starts
// at zero (Doc 9303-11 clause 9.8.7).
func (a *Applet) renew(private, terminal []byte, is3DES bool) apdu.StatusWord {
	if len(terminal) != icao.PointSize {
		return apdu.SWWrongData
	}
	shared, err := icao.P256{}.Mul(terminal, private)
	if err != nil {
		return apdu.SWWrongData
	}
	if is3DES {
		a.renewed = icao.NewSession3DES(icao.CoordinateX(shared), make([]byte, des.BlockSize))
	} else {
		a.renewed = icao.NewSessionAES(icao.CoordinateX(shared))
	}
	return apdu.SWSuccess
}

// chipKeyReference finds the keyId of the ChipAuthenticationPublicKeyInfo in
// DG14 (Doc 9303-11 clause 9.2.6), without leading zeros. ok is false where
// there is none.
func chipKeyReference(dg14 []byte) (reference []byte, ok bool) {
	infos, ok := tlv.Path(dg14, 0x6E, 0x31)
	if !ok {
		return nil, false
	}
	list, err := tlv.Parse(infos)
	if err != nil {
		return nil, false
	}
	for _, info := range list {
		fields, err := tlv.Parse(info.Value)
		if err != nil || len(fields) != 3 || !sameOID(fields[0].Value, oidChipPublicKey) {
			continue
		}
		return bytes.TrimLeft(fields[2].Value, "\x00"), true
	}
	return nil, false
}
