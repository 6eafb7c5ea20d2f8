package identity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Media types of portraits.
const (
	JPEG     = "image/jpeg"
	JPEG2000 = "image/jp2"
)

// ErrImage marks bytes that are no readable portrait.
var ErrImage = errors.New("identity: not a readable JPEG or JPEG 2000 image")

// ImageInfo is what an image's header says.
type ImageInfo struct {
	MediaType     string // JPEG or JPEG2000
	Width, Height uint16 // pixels
	Components    int    // 1 grey, 3 colour
}

var (
	jpegStart     = []byte{0xFF, 0xD8, 0xFF}
	jp2Signature  = []byte{0, 0, 0, 0x0C, 'j', 'P', ' ', ' ', 0x0D, 0x0A, 0x87, 0x0A}
	j2kCodestream = []byte{0xFF, 0x4F, 0xFF, 0x51}
)

// InspectImage reads the header of a JPEG (ITU-T T.81, B.2), of a JPEG 2000
// file (ISO/IEC 15444-1, annex I) or of a bare JPEG 2000 codestream (annex A)
// without decoding it. Errors match ErrImage.
func InspectImage(b []byte) (ImageInfo, error) {
	switch {
	case bytes.HasPrefix(b, jpegStart):
		return inspectJPEG(b)
	case bytes.HasPrefix(b, jp2Signature):
		return inspectJP2(b)
	case bytes.HasPrefix(b, j2kCodestream):
		return inspectCodestream(b)
	}
	return ImageInfo{}, fmt.Errorf("%w: unknown first bytes", ErrImage)
}

// inspectJPEG walks the marker segments to the frame header.
func inspectJPEG(b []byte) (ImageInfo, error) {
	for p := 2; ; {
		for p < len(b) && b[p] == 0xFF && p+1 < len(b) && b[p+1] == 0xFF {
			p++ // fill bytes
		}
		if p+4 > len(b) || b[p] != 0xFF {
			return ImageInfo{}, fmt.Errorf("%w: no frame header", ErrImage)
		}
		marker := b[p+1]
		n := int(binary.BigEndian.Uint16(b[p+2:]))
		if n < 2 || p+2+n > len(b) || marker == 0xDA || marker == 0xD9 {
			return ImageInfo{}, fmt.Errorf("%w: no frame header", ErrImage)
		}
		frame := marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC
		if !frame {
			p += 2 + n
			continue
		}
		segment := b[p+4 : p+2+n]
		if len(segment) < 6 {
			return ImageInfo{}, fmt.Errorf("%w: the frame header is cut off", ErrImage)
		}
		return imageInfo(JPEG, uint32(binary.BigEndian.Uint16(segment[3:])),
			uint32(binary.BigEndian.Uint16(segment[1:])), int(segment[5]))
	}
}

// inspectJP2 finds the image header box in the JP2 header box.
func inspectJP2(b []byte) (ImageInfo, error) {
	header, ok := box(b, "jp2h")
	if !ok {
		return ImageInfo{}, fmt.Errorf("%w: no JP2 header box", ErrImage)
	}
	image, ok := box(header, "ihdr")
	if !ok || len(image) < 14 {
		return ImageInfo{}, fmt.Errorf("%w: no image header box", ErrImage)
	}
	return imageInfo(JPEG2000, binary.BigEndian.Uint32(image[4:]),
		binary.BigEndian.Uint32(image), int(binary.BigEndian.Uint16(image[8:])))
}

// box finds the contents of the first box of a kind; boxes with a 64-bit
// length do not occur in a portrait.
func box(b []byte, kind string) ([]byte, bool) {
	for len(b) >= 8 {
		n := uint64(binary.BigEndian.Uint32(b))
		if n == 0 {
			n = uint64(len(b)) // the last box, to the end of the file
		}
		if n < 8 || n > uint64(len(b)) {
			return nil, false
		}
		if string(b[4:8]) == kind {
			return b[8:n], true
		}
		b = b[n:]
	}
	return nil, false
}

// inspectCodestream reads the SIZ marker segment behind SOC.
func inspectCodestream(b []byte) (ImageInfo, error) {
	const size = 2 + 2 + 36 // SOC, SIZ, fixed part of the segment
	if len(b) < size+2 {
		return ImageInfo{}, fmt.Errorf("%w: the size segment is cut off", ErrImage)
	}
	at := func(i int) uint32 { return binary.BigEndian.Uint32(b[8+4*i:]) }
	width, height, left, top := at(0), at(1), at(2), at(3)
	if left > width || top > height {
		return ImageInfo{}, fmt.Errorf("%w: the image lies outside its grid", ErrImage)
	}
	return imageInfo(JPEG2000, width-left, height-top, int(binary.BigEndian.Uint16(b[size:])))
}

func imageInfo(mediaType string, width, height uint32, components int) (ImageInfo, error) {
	if width == 0 || height == 0 || width > 0xFFFF || height > 0xFFFF {
		return ImageInfo{}, fmt.Errorf("%w: it is %d by %d pixels", ErrImage, width, height)
	}
	return ImageInfo{mediaType, uint16(width), uint16(height), components}, nil
}
