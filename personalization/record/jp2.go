package record

import (
	"bytes"
	"encoding/binary"
	"errors"
)

var (
	errJP2Short = errors.New("photo: the JP2 is cut short")
	errJP2Box   = errors.New("photo: a box of the JP2 is not what it should be")
)

// jp2Signature is the first box of every JP2 file (ISO/IEC 15444-1 I.5.1).
var jp2Signature = []byte{0, 0, 0, 12, 'j', 'P', ' ', ' ', 0x0D, 0x0A, 0x87, 0x0A}

// inspectJP2 walks the boxes of a JP2 file (ISO/IEC 15444-1 annex I) and
// compares the image header box with the codestream's SIZ marker (A.5.1).
func inspectJP2(b []byte) (PhotoInfo, error) {
	if !bytes.HasPrefix(b, jp2Signature) {
		return PhotoInfo{}, errors.New("photo: the file does not begin as a JP2")
	}
	var info PhotoInfo
	typed := false
	for rest := b[len(jp2Signature):]; len(rest) > 0; {
		kind, body, next, err := box(rest)
		if err != nil {
			return PhotoInfo{}, err
		}
		switch kind {
		case "ftyp":
			typed = compatible(body)
		case "jp2h":
			if info, err = imageHeader(body); err != nil {
				return PhotoInfo{}, err
			}
		case "jp2c":
			if !typed || info.Width == 0 {
				return PhotoInfo{}, errors.New("photo: the JP2 lacks its file type or header box")
			}
			if len(next) > 0 {
				return PhotoInfo{}, errors.New("photo: bytes follow the JP2's codestream")
			}
			return info, codestream(body, info)
		}
		rest = next
	}
	return PhotoInfo{}, errJP2Short
}

// box cuts the first box off b (I.4).
func box(b []byte) (kind string, body, rest []byte, err error) {
	if len(b) < 8 {
		return "", nil, nil, errJP2Short
	}
	n, head := uint64(binary.BigEndian.Uint32(b)), uint64(8)
	switch n {
	case 0: // to the end of the file
		n = uint64(len(b))
	case 1:
		if len(b) < 16 {
			return "", nil, nil, errJP2Short
		}
		n, head = binary.BigEndian.Uint64(b[8:]), 16
	}
	if n < head {
		return "", nil, nil, errJP2Box
	}
	if n > uint64(len(b)) {
		return "", nil, nil, errJP2Short
	}
	return string(b[4:8]), b[head:n], b[n:], nil
}

// compatible looks for "jp2 " in the file type box's compatibility list (I.5.2).
func compatible(b []byte) bool {
	for i := 8; i+4 <= len(b); i += 4 {
		if string(b[i:i+4]) == "jp2 " {
			return true
		}
	}
	return false
}

// imageHeader reads the image header box, the first in the header box (I.5.3.1).
func imageHeader(b []byte) (PhotoInfo, error) {
	kind, ihdr, _, err := box(b)
	if err != nil {
		return PhotoInfo{}, err
	}
	if kind != "ihdr" || len(ihdr) != 14 || ihdr[11] != 7 {
		return PhotoInfo{}, errJP2Box
	}
	h, w := binary.BigEndian.Uint32(ihdr), binary.BigEndian.Uint32(ihdr[4:])
	if h > 1<<16-1 || w > 1<<16-1 {
		return PhotoInfo{}, errors.New("photo: width or height is over 65535")
	}
	info := PhotoInfo{
		Size:       Size{Width: int(w), Height: int(h)},
		Components: int(binary.BigEndian.Uint16(ihdr[8:])),
		Depth:      int(ihdr[10]&0x7F) + 1, // FF, components of different depth, becomes 128 and is refused
	}
	return info, info.check()
}

// codestream checks SOC, SIZ and EOC (A.4, A.5.1).
func codestream(b []byte, info PhotoInfo) error {
	if len(b) < 4+38 {
		return errJP2Short
	}
	if !bytes.HasPrefix(b, []byte{0xFF, 0x4F, 0xFF, 0x51}) {
		return errors.New("photo: the JP2's codestream does not begin as it should")
	}
	siz := b[4:]
	u32 := func(i int) uint32 { return binary.BigEndian.Uint32(siz[i:]) }
	xsiz, ysiz, xo, yo := u32(4), u32(8), u32(12), u32(16)
	if xsiz < xo || ysiz < yo || int(xsiz-xo) != info.Width || int(ysiz-yo) != info.Height ||
		int(binary.BigEndian.Uint16(siz[36:])) != info.Components {
		return errors.New("photo: the JP2's header and codestream disagree")
	}
	if !bytes.HasSuffix(b, []byte{0xFF, 0xD9}) {
		return errJP2Short
	}
	return nil
}
