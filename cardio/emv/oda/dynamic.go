package oda

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // EMV hash algorithm indicator 01
	"fmt"
	"io"
)

// dynamicData opens signed dynamic application data and returns the ICC dynamic
// data in it (Book 2, table 17).
func dynamicData(icc PublicKey, sdad, terminalData []byte) ([]byte, error) {
	wrong := fmt.Errorf("signed dynamic application data: %w", ErrSignature)
	block, err := icc.recoverBlock(sdad, formatDynamic, wrong)
	if err != nil {
		return nil, err
	}
	if block[2] != hashSHA1 {
		return nil, fmt.Errorf("signed dynamic application data: %w", ErrUnsupported)
	}
	if n := int(block[3]); n > len(block)-dynamicOverhead || !hashMatches(block, terminalData) {
		return nil, wrong
	}
	return block[4 : 4+int(block[3])], nil
}

// VerifyDynamic checks the answer to INTERNAL AUTHENTICATE (Book 2, section
// 6.5.2). terminalData are the values that the card's DDOL asked for. It returns
// the ICC dynamic number, 2 to 8 bytes.
func VerifyDynamic(icc PublicKey, sdad, terminalData []byte) (dynamicNumber []byte, err error) {
	data, err := dynamicData(icc, sdad, terminalData)
	if err != nil {
		return nil, err
	}
	number, _, ok := number(data)
	if !ok {
		return nil, fmt.Errorf("signed dynamic application data: %w: it holds no ICC dynamic number", ErrSignature)
	}
	return number, nil
}

func number(data []byte) (number, rest []byte, ok bool) {
	if len(data) < 1 || int(data[0]) < 2 || int(data[0]) > 8 || len(data) < 1+int(data[0]) {
		return nil, nil, false
	}
	n := int(data[0])
	return bytes.Clone(data[1 : 1+n]), data[1+n:], true
}

// Combined is what a card signs together with its application cryptogram (Book
// 2, tables 19 and 20).
type Combined struct {
	DynamicNumber []byte  // 2 to 8 bytes
	CID           byte    // cryptogram information data
	Cryptogram    [8]byte // application cryptogram
}

// VerifyCombined checks the answer to GENERATE AC with CDA (Book 2, section
// 6.6.2). unpredictable is the terminal's unpredictable number, 4 bytes;
// transaction is the data that the transaction data hash code is over: the values
// of the PDOL, of CDOL1, in the second GENERATE AC of CDOL2, and the answer's
// data objects but for the signature, in their order.
func VerifyCombined(icc PublicKey, sdad, unpredictable, transaction []byte) (Combined, error) {
	var out Combined
	data, err := dynamicData(icc, sdad, unpredictable)
	if err != nil {
		return out, err
	}
	wrong := fmt.Errorf("signed dynamic application data: %w", ErrSignature)
	n, rest, ok := number(data)
	if !ok || len(rest) < 1+8+hashSize {
		return out, wrong
	}
	out.DynamicNumber, out.CID = n, rest[0]
	copy(out.Cryptogram[:], rest[1:9])
	sum := sha1.Sum(transaction) //nolint:gosec // as above
	if !bytes.Equal(rest[9:9+hashSize], sum[:]) {
		return out, fmt.Errorf("%w: the transaction that was signed is another", wrong)
	}
	return out, nil
}

// EncipherPIN enciphers an offline PIN for a card (Book 2, section 7.2): block is
// the PIN block, 8 bytes, unpredictable the card's number from GET CHALLENGE, 8
// bytes. The result has the modulus' length.
func EncipherPIN(random io.Reader, icc PublicKey, block, unpredictable []byte) ([]byte, error) {
	if err := icc.Check(); err != nil {
		return nil, err
	}
	if len(block) != 8 || len(unpredictable) != 8 {
		return nil, fmt.Errorf("an enciphered PIN is made of a block and a challenge of 8 bytes each")
	}
	plain := make([]byte, len(icc.Modulus))
	defer clear(plain)
	plain[0] = 0x7F
	copy(plain[1:], block)
	copy(plain[9:], unpredictable)
	if _, err := io.ReadFull(random, plain[17:]); err != nil {
		return nil, err
	}
	return icc.Recover(plain)
}
