package iso8583

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"

	lib "github.com/moov-io/iso8583"

	"cardbureau/cardio/tlv"
)

// Question is an authorization request as a test terminal's switch sends it. It
// prints as nothing.
type Question struct {
	PAN      string
	Sequence byte
	Amount   uint64 // in rials
	STAN     int    // system trace audit number, 0 to 999999
	ICC      []byte // element 55, BER-TLV
}

// String shows nothing.
func (Question) String() string { return "[authorization request]" }

// Format shows nothing, whatever the verb.
func (Question) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[authorization request]")) }

// Reply is what a 0110 says for the card.
type Reply struct {
	Code       string // element 39
	IssuerData []byte // tag 91 of element 55; nil: none
}

// Ask sends a 0100 and reads its 0110. ErrFrame, ErrMessage, ErrType.
func Ask(ctx context.Context, conn net.Conn, q Question) (r Reply, err error) {
	m := lib.NewMessage(spec)
	m.MTI("0100")
	now := time.Now()
	stan := fmt.Sprintf("%06d", q.STAN%1000000)
	for n, v := range map[int]string{
		fieldPAN: q.PAN, 3: "000000", 4: fmt.Sprintf("%012d", q.Amount), 7: now.UTC().Format("0102150405"), fieldSTAN: stan,
		12: now.Format("150405"), 13: now.Format("0102"), 22: "051", fieldSequence: fmt.Sprintf("%03d", q.Sequence), 25: "00",
		37: now.Format("060102") + stan, 41: "TEST0001", 42: "CARDBUREAU TEST", 49: "364",
	} {
		if err := m.Field(n, v); err != nil {
			return r, ErrMessage
		}
	}
	if err := m.BinaryField(fieldICC, q.ICC); err != nil {
		return r, ErrMessage
	}
	out, err := m.Pack()
	if err != nil {
		return r, ErrMessage
	}
	defer clear(out)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	frame := append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)
	defer clear(frame)
	if _, err := conn.Write(frame); err != nil {
		return r, err
	}
	text, err := readFrame(conn)
	if err != nil {
		return r, err
	}
	in := lib.NewMessage(specOf(text))
	if in.Unpack(text) != nil {
		return r, ErrMessage
	}
	if kind, err := in.GetMTI(); err != nil || kind != "0110" {
		return r, ErrType
	}
	if s, err := in.GetString(fieldSTAN); err != nil || s != stan {
		return r, ErrMessage
	}
	if r.Code, err = in.GetString(fieldCode); err != nil {
		return r, ErrMessage
	}
	icc, err := in.GetBytes(fieldICC)
	if err != nil {
		return r, ErrMessage
	}
	r.IssuerData, _ = tlv.Find(icc, 0x91)
	return r, nil
}
