package gp

import (
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// DGI is one data grouping: a 2-byte identifier and at most 65,535 bytes
// (GPC_SPE_034 11.11.2.3 with the EMV Card Personalization Specification
// 2.0).
type DGI struct {
	ID    uint16
	Value []byte
	// Enciphered says that this value is enciphered under the DEK, where not all of
	// a sequence are: see StoreDataOptions.
	Enciphered bool
}

// DataFormat is how the data of STORE DATA is laid out, bits 5 and 4 of P1
// (GPC_SPE_034 table 11-89).
type DataFormat byte

// The formats of data.
const (
	FormatUnstated DataFormat = 0x00 // the security domain or application knows
	FormatDGI      DataFormat = 0x08
	FormatTLV      DataFormat = 0x10 // BER-TLV
)

// DataEncryption is what P1 of STORE DATA says of encipherment, bits 7 and 6.
// 40 is reserved.
type DataEncryption byte

// What may be said of encipherment.
const (
	EncryptionUnstated    DataEncryption = 0x00 // nothing is, or nothing is said
	EncryptionApplication DataEncryption = 0x20 // as the application has it
	EncryptionDEK         DataEncryption = 0x60 // under the security domain's DEK
)

// StoreDataOptions say how a sequence of STORE DATA is built.
type StoreDataOptions struct {
	// Enciphered says that each value is enciphered under the DEK (P1 b7 b6 =
	// 11): a whole number of cipher blocks, 16 bytes in SCP03 and 8 in SCP02.
	// StoreData alone looks at it.
	Enciphered bool
	// MaxData is the number of data bytes a block carries, 1 to 65,535; see
	// MaxPlainData. Above 255 the commands have extended length.
	MaxData int
	// Response asks for response data in each command (P1 b1, ISO case 4).
	Response bool
	// Interindustry sends class 00, the STORE DATA of an application that is
	// selected itself, instead of 80.
	Interindustry bool
	// Wrap lets the block number go on with 00 after FF, as some applications
	// take it; without it more than 256 blocks are ErrTooLong.
	Wrap bool
	// OnePerCommand begins a command with every DGI. StoreData alone looks at it.
	OnePerCommand bool
	// P1 replaces what P1 says of format, encipherment and the last block; nil:
	// GlobalPlatform's, which states the DGI format. StoreData alone looks at it.
	P1 *StoreDataP1
}

// StoreDataP1 are the values of P1 in a sequence. Those of the EMV Card
// Personalization Specification 1.1 (section 4.3.4) are 00, 60 and 80.
type StoreDataP1 struct {
	Plain      byte
	Enciphered byte
	Last       byte // bits that are set in the last block; 00: it is not marked
}

// maxBlocks is what the block number, P2 from 00 to FF, can count.
const maxBlocks = 256

// Bits of P1.
const (
	lastStoreBlock = 0x80
	respond        = 0x01
)

// ErrTooLong marks data that one STORE DATA sequence cannot carry.
var ErrTooLong = errors.New("too much data for one STORE DATA sequence")

// AppendDGI appends a data grouping: identifier, length in one byte or as FF
// and two, value. The value must not exceed 65,535 bytes.
func AppendDGI(dst []byte, d DGI) []byte {
	dst = append(dst, byte(d.ID>>8), byte(d.ID))
	if n := len(d.Value); n < 0xFF {
		dst = append(dst, byte(n))
	} else {
		dst = append(dst, 0xFF, byte(n>>8), byte(n))
	}
	return append(dst, d.Value...)
}

// StoreData packs data groupings as one stream into STORE DATA commands
// (GPC_SPE_034 11.11): P1 says DGI format, encipherment and, on the last one,
// the end; P2 counts from 00. A grouping may cross from one block into the
// next, but a block holds enciphered groupings or plain ones alone. One sequence
// carries at most 256 blocks: ErrTooLong beyond that.
func StoreData(dgis []DGI, o StoreDataOptions) ([]apdu.Command, error) {
	if len(dgis) == 0 {
		return nil, errors.New("gp: a STORE DATA sequence of nothing")
	}
	p1 := o.P1
	if p1 == nil {
		p1 = &StoreDataP1{Plain: byte(FormatDGI), Enciphered: byte(FormatDGI) | byte(EncryptionDEK), Last: lastStoreBlock}
	}
	var out []apdu.Command
	for len(dgis) > 0 {
		n := together(dgis, o)
		cmds, err := storeGroup(dgis[:n], o)
		if err != nil {
			return nil, err
		}
		for _, c := range cmds {
			low := c.P1 & respond
			if c.P1 = p1.Plain | low; o.Enciphered || dgis[0].Enciphered {
				c.P1 = p1.Enciphered | low
			}
			c.P2 = byte(len(out))
			out = append(out, c)
		}
		dgis = dgis[n:]
	}
	if len(out) > maxBlocks && !o.Wrap {
		return nil, fmt.Errorf("%w: %d blocks", ErrTooLong, len(out))
	}
	out[len(out)-1].P1 |= p1.Last
	return out, nil
}

// together is how many groupings go into one stream.
func together(dgis []DGI, o StoreDataOptions) int {
	if o.OnePerCommand {
		return 1
	}
	n := 1
	for n < len(dgis) && (o.Enciphered || dgis[n].Enciphered == dgis[0].Enciphered) {
		n++
	}
	return n
}

// storeGroup packs groupings of one kind. What P1 says is the caller's.
func storeGroup(dgis []DGI, o StoreDataOptions) ([]apdu.Command, error) {
	size := 0
	for _, d := range dgis {
		size += len(d.Value) + 5
	}
	stream := make([]byte, 0, size)
	for _, d := range dgis {
		if len(d.Value) > 0xFFFF {
			return nil, fmt.Errorf("%w: DGI %04X has %d bytes", ErrTooLong, d.ID, len(d.Value))
		}
		if (o.Enciphered || d.Enciphered) && len(d.Value)%desBlock != 0 {
			return nil, fmt.Errorf("gp: enciphered DGI %04X has %d bytes, no whole number of cipher blocks", d.ID, len(d.Value))
		}
		stream = AppendDGI(stream, d)
	}
	return StoreDataBytes(stream, FormatDGI, EncryptionUnstated, o)
}

// StoreDataBytes sends data as it is in as many STORE DATA commands as it
// takes, and says in P1 how it is laid out and enciphered. FormatTLV must be
// data objects one after another. Data of nothing is one empty block.
func StoreDataBytes(data []byte, format DataFormat, encryption DataEncryption, o StoreDataOptions) ([]apdu.Command, error) {
	if o.MaxData < 1 || o.MaxData > apdu.MaxExtendedData {
		return nil, fmt.Errorf("gp: STORE DATA blocks of %d bytes", o.MaxData)
	}
	switch format {
	case FormatUnstated, FormatDGI:
	case FormatTLV:
		if _, err := tlv.Parse(data); err != nil {
			return nil, fmt.Errorf("gp: STORE DATA: %w", err)
		}
	default:
		return nil, fmt.Errorf("gp: STORE DATA has no format %02X", byte(format))
	}
	switch encryption {
	case EncryptionUnstated, EncryptionApplication, EncryptionDEK:
	default:
		return nil, fmt.Errorf("gp: STORE DATA has no encryption information %02X", byte(encryption))
	}
	n := max(1, (len(data)+o.MaxData-1)/o.MaxData)
	if n > maxBlocks && !o.Wrap {
		return nil, fmt.Errorf("%w: %d bytes take %d blocks of %d", ErrTooLong, len(data), n, o.MaxData)
	}
	one := apdu.Command{CLA: 0x80, INS: 0xE2, P1: byte(format) | byte(encryption)}
	if o.Interindustry {
		one.CLA = 0x00
	}
	if o.Response {
		one.P1 |= respond
		one.Ne = apdu.MaxShortNe
	}
	out := make([]apdu.Command, n)
	for i := range out {
		end := min((i+1)*o.MaxData, len(data))
		out[i] = one
		out[i].P2, out[i].Data = byte(i), data[i*o.MaxData:end:end]
	}
	out[n-1].P1 |= lastStoreBlock
	return out, nil
}
