package record

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Size is a picture's width and height in pixels.
type Size struct{ Width, Height int }

// String is width×height.
func (s Size) String() string { return fmt.Sprintf("%d×%d", s.Width, s.Height) }

// PhotoInfo is what a portrait's header says.
type PhotoInfo struct {
	Size
	Components int // 1 grey, 3 colour
	Depth      int // bits a component
}

// InspectPhoto reads a portrait's header and looks for its end, without decoding
// a pixel. mediaType is image/jpeg (ITU-T T.81 sequential DCT with Huffman
// coding, as ISO/IEC 19794-5:2005 section 7.3 asks) or image/jp2 (ISO/IEC
// 15444-1 annex I). Bytes after the picture's end are a fault: the chip would
// carry them too.
func InspectPhoto(mediaType string, data []byte) (PhotoInfo, error) {
	switch mediaType {
	case "image/jpeg":
		return inspectJPEG(data)
	case "image/jp2":
		return inspectJP2(data)
	}
	return PhotoInfo{}, errors.New("photo: the media type is neither image/jpeg nor image/jp2")
}

// Markers of ITU-T T.81 table B.1.
const (
	markSOF0 = 0xC0 // baseline DCT
	markSOF1 = 0xC1 // extended sequential DCT
	markDHT  = 0xC4
	markJPG  = 0xC8
	markDAC  = 0xCC
	markSOF  = 0xCF // last of the frame headers
	markSOI  = 0xD8
	markEOI  = 0xD9
	markSOS  = 0xDA
	markTEM  = 0x01
	markRST0 = 0xD0
)

var errJPEGShort = errors.New("photo: the JPEG is cut short")

func inspectJPEG(b []byte) (PhotoInfo, error) {
	if len(b) < 4 || b[0] != 0xFF || b[1] != markSOI {
		return PhotoInfo{}, errors.New("photo: the file does not begin as a JPEG")
	}
	var info PhotoInfo
	for p := 2; ; {
		if p+4 > len(b) {
			return PhotoInfo{}, errJPEGShort
		}
		if b[p] != 0xFF {
			return PhotoInfo{}, errors.New("photo: a JPEG marker is missing")
		}
		m := b[p+1]
		if m == 0xFF { // fill byte (B.1.1.2)
			p++
			continue
		}
		if m == 0 || m == markTEM || m >= markRST0 && m <= markEOI {
			return PhotoInfo{}, errors.New("photo: a JPEG marker stands where none may be")
		}
		n := int(binary.BigEndian.Uint16(b[p+2:]))
		if n < 2 || p+2+n > len(b) {
			return PhotoInfo{}, errJPEGShort
		}
		body := b[p+4 : p+2+n]
		switch {
		case m == markSOS:
			if info.Width == 0 {
				return PhotoInfo{}, errors.New("photo: the JPEG has no frame header")
			}
			return info, scanEnds(b[p+2+n:])
		case m >= markSOF0 && m <= markSOF && m != markDHT && m != markJPG && m != markDAC:
			if info.Width != 0 {
				return PhotoInfo{}, errors.New("photo: the JPEG has two frame headers")
			}
			if m > markSOF1 {
				return PhotoInfo{}, errors.New("photo: the JPEG is not sequential (ISO/IEC 19794-5 allows no other)")
			}
			var err error
			if info, err = frame(body); err != nil {
				return PhotoInfo{}, err
			}
		}
		p += 2 + n
	}
}

// frame reads a frame header (T.81 B.2.2).
func frame(b []byte) (PhotoInfo, error) {
	if len(b) < 6 || len(b) != 6+3*int(b[5]) {
		return PhotoInfo{}, errors.New("photo: the JPEG's frame header has the wrong length")
	}
	info := PhotoInfo{
		Size:       Size{Width: int(binary.BigEndian.Uint16(b[3:])), Height: int(binary.BigEndian.Uint16(b[1:]))},
		Components: int(b[5]),
		Depth:      int(b[0]),
	}
	return info, info.check()
}

func (i PhotoInfo) check() error {
	switch {
	case i.Width <= 0 || i.Height <= 0:
		return errors.New("photo: width or height is not given")
	case i.Depth != 8:
		return fmt.Errorf("photo: %d bits a component, 8 are needed", i.Depth)
	case i.Components != 1 && i.Components != 3:
		return fmt.Errorf("photo: %d components, 1 (grey) or 3 (colour) are needed", i.Components)
	}
	return nil
}

// scanEnds walks what follows the first scan header: entropy-coded data, further
// segments and scans, and EOI, which must be the last two bytes.
func scanEnds(b []byte) error {
	coded := 0
	for p := 0; p+1 < len(b); {
		m := b[p+1]
		switch {
		case b[p] != 0xFF:
			coded++
			p++
		case m == 0xFF: // fill byte
			p++
		case m == 0 || m >= markRST0 && m < markSOI: // stuffed FF, restart
			coded++
			p += 2
		case m == markEOI:
			if coded == 0 {
				return errors.New("photo: the JPEG holds no picture")
			}
			if p+2 != len(b) {
				return errors.New("photo: bytes follow the end of the JPEG")
			}
			return nil
		default: // a segment between scans
			if p+4 > len(b) {
				return errJPEGShort
			}
			p += 2 + int(binary.BigEndian.Uint16(b[p+2:]))
		}
	}
	return errJPEGShort
}
