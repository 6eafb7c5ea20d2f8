package identity

import (
	"encoding/binary"
	"fmt"

	"cardbureau/cardio/tlv"
)

// Fixed lengths of a face record in bytes (ISO/IEC 19794-5:2005, 5.4 to 5.7).
const (
	facialRecordHeader = 14
	facialInformation  = 20
	imageInformation   = 12
	faceOverhead       = facialRecordHeader + facialInformation + imageInformation
)

// biometricHeader is the CBEFF header template A1 (Doc 9303-10, 4.7.2): facial
// features, no subtype, format owner 0101 (ISO/IEC JTC 1/SC 37), format type
// 0008 (face image data).
var biometricHeader = tlv.Encode(0xA1,
	tlv.Encode(0x81, []byte{0x02}),
	tlv.Encode(0x82, []byte{0x00}),
	tlv.Encode(0x87, []byte{0x01, 0x01}),
	tlv.Encode(0x88, []byte{0x00, 0x08}))

// DG2 builds EF.DG2: one biometric information template (7F61, 7F60) with one
// ISO/IEC 19794-5 full frontal face record around the image, which stands in
// it byte for byte. image is a JPEG or a JPEG 2000 file or codestream; what is
// not known of the portrait (eye colour, pose, source) is left unspecified. The
// file is the image and fewer than 100 bytes more.
func DG2(image []byte) ([]byte, error) {
	info, err := InspectImage(image)
	if err != nil {
		return nil, err
	}
	length := uint64(faceOverhead + len(image))
	if length > 1<<32-1 {
		return nil, fmt.Errorf("%w: the image is too long", ErrDataGroup)
	}
	record := make([]byte, 0, faceOverhead)
	// Facial record header: format, version, length of the record, faces.
	record = append(record, "FAC\x00010\x00"...)
	record = binary.BigEndian.AppendUint32(record, uint32(length))
	record = binary.BigEndian.AppendUint16(record, 1)
	// Facial information: block length from here on, no feature points; gender,
	// eye and hair colour, feature mask, expression, pose and its uncertainty
	// unspecified.
	record = binary.BigEndian.AppendUint32(record, uint32(length-facialRecordHeader))
	record = append(record, make([]byte, facialInformation-4)...)
	// Image information: full frontal, data type, size in pixels, colour space;
	// source, device and quality unspecified.
	record = append(record, 0x01, info.dataType())
	record = binary.BigEndian.AppendUint16(record, info.Width)
	record = binary.BigEndian.AppendUint16(record, info.Height)
	record = append(record, info.colourSpace(), 0, 0, 0, 0, 0)

	block := tlv.Encode(0x5F2E, record, image)
	return tlv.Encode(0x75,
		tlv.Encode(0x7F61,
			tlv.Encode(0x02, []byte{1}),
			tlv.Encode(0x7F60, biometricHeader, block))), nil
}

// dataType is 0 for JPEG, 1 for JPEG 2000 (ISO/IEC 19794-5:2005, 5.7.2).
func (i ImageInfo) dataType() byte {
	if i.MediaType == JPEG {
		return 0
	}
	return 1
}

// colourSpace is 1 for 24-bit RGB, 3 for 8-bit greyscale, 0 for unspecified
// (ISO/IEC 19794-5:2005, 5.7.4).
func (i ImageInfo) colourSpace() byte {
	switch i.Components {
	case 1:
		return 3
	case 3:
		return 1
	}
	return 0
}
