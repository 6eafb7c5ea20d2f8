package gp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"cardbureau/cardio/tlv"
)

// CPLC is the card production life cycle data, GET DATA 9F7F: 42 bytes that
// the chip's and the card's makers write. Dates are four BCD digits: the last
// digit of the year and the day of it.
type CPLC struct {
	ICFabricator               uint16
	ICType                     uint16
	OperatingSystem            uint16
	OSReleaseDate              uint16
	OSReleaseLevel             uint16
	ICFabricationDate          uint16
	ICSerialNumber             uint32
	ICBatch                    uint16
	ModuleFabricator           uint16
	ModulePackagingDate        uint16
	ICCManufacturer            uint16
	EmbeddingDate              uint16
	PrePersonalizer            uint16
	PrePersonalizationDate     uint16
	PrePersonalizationMachine  uint32
	Personalizer               uint16
	PersonalizationDate        uint16
	PersonalizationEquipmentID uint32
}

const cplcSize = 42

// ParseCPLC reads the answer to GET DATA 9F7F: the data object, or its bare
// 42-byte value as some cards send it.
func ParseCPLC(b []byte) (CPLC, error) {
	if len(b) != cplcSize {
		tag := tlv.Tag(TagCPLC)
		o, rest, err := tlv.Next(b)
		if err != nil {
			return CPLC{}, fmt.Errorf("%w: CPLC: %w", ErrMalformed, err)
		}
		if o.Tag != tag || len(rest) != 0 || len(o.Value) != cplcSize {
			return CPLC{}, fmt.Errorf("%w: CPLC of %d bytes under tag %X", ErrMalformed, len(o.Value), uint32(o.Tag))
		}
		b = o.Value
	}
	u16 := func() uint16 {
		v := binary.BigEndian.Uint16(b)
		b = b[2:]
		return v
	}
	u32 := func() uint32 {
		v := binary.BigEndian.Uint32(b)
		b = b[4:]
		return v
	}
	var c CPLC
	c.ICFabricator, c.ICType = u16(), u16()
	c.OperatingSystem, c.OSReleaseDate, c.OSReleaseLevel = u16(), u16(), u16()
	c.ICFabricationDate, c.ICSerialNumber, c.ICBatch = u16(), u32(), u16()
	c.ModuleFabricator, c.ModulePackagingDate = u16(), u16()
	c.ICCManufacturer, c.EmbeddingDate = u16(), u16()
	c.PrePersonalizer, c.PrePersonalizationDate, c.PrePersonalizationMachine = u16(), u16(), u32()
	c.Personalizer, c.PersonalizationDate, c.PersonalizationEquipmentID = u16(), u16(), u32()
	return c, nil
}

// Bytes is the 42-byte value.
func (c CPLC) Bytes() []byte {
	b := make([]byte, 0, cplcSize)
	u16 := func(values ...uint16) {
		for _, v := range values {
			b = binary.BigEndian.AppendUint16(b, v)
		}
	}
	u16(c.ICFabricator, c.ICType, c.OperatingSystem, c.OSReleaseDate, c.OSReleaseLevel, c.ICFabricationDate)
	b = binary.BigEndian.AppendUint32(b, c.ICSerialNumber)
	u16(c.ICBatch, c.ModuleFabricator, c.ModulePackagingDate, c.ICCManufacturer, c.EmbeddingDate, c.PrePersonalizer, c.PrePersonalizationDate)
	b = binary.BigEndian.AppendUint32(b, c.PrePersonalizationMachine)
	u16(c.Personalizer, c.PersonalizationDate)
	return binary.BigEndian.AppendUint32(b, c.PersonalizationEquipmentID)
}

// Serial identifies the chip among all chips: IC fabricator, type, batch and
// serial number, 20 upper-case hexadecimal digits. It names a blank in stock.
func (c CPLC) Serial() string {
	b := make([]byte, 0, 10)
	b = binary.BigEndian.AppendUint16(b, c.ICFabricator)
	b = binary.BigEndian.AppendUint16(b, c.ICType)
	b = binary.BigEndian.AppendUint16(b, c.ICBatch)
	b = binary.BigEndian.AppendUint32(b, c.ICSerialNumber)
	return strings.ToUpper(hex.EncodeToString(b))
}
