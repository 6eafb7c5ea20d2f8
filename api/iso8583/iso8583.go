// Package iso8583 answers a bank's switch: it takes authorization requests (0100)
// with the card's data in element 55, has the cryptogram verified, and answers 0110
// with the response code as far as the card goes and the issuer authentication data
// for it. 0800 is answered with 0810.
//
// A message is framed by its length, two bytes, high byte first. Messages: ISO
// 8583:1987, MTI and texts in ASCII, bitmaps in binary. Neither logs nor answers hold
// a PAN or a message.
package iso8583

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	lib "github.com/moov-io/iso8583"

	"cardbureau/cardio/tlv"
	"cardbureau/personalization/bank"
	"cardbureau/personalization/payment"
)

// Authorizer verifies cryptograms; *bank.Service does.
type Authorizer interface {
	Authorize(ctx context.Context, q bank.Query) (bank.Verdict, error)
}

// Response codes beside those of package bank.
const (
	codeFormat      = "30" // the message lacks what it needs
	codeUnavailable = "91" // the bureau cannot answer now
)

// Limits of a connection.
const (
	maxMessage     = 4096 // bytes
	maxConnections = 64
	idle           = 5 * time.Minute
	answerWithin   = 10 * time.Second
)

// Server answers a switch.
type Server struct {
	Bank Authorizer
	Log  *slog.Logger
}

// Errors of messages that get no answer: the connection is closed. They hold nothing
// of a message.
var (
	ErrFrame   = errors.New("the frame's length is not that of a message")
	ErrMessage = errors.New("the message cannot be read: it is not of the format that this adapter speaks")
	ErrType    = errors.New("the message's type is none that this adapter answers: 0100 and 0800 are")
)

// Serve answers connections until ctx ends, and closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	room := make(chan struct{}, maxConnections)
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			cancel()
			return fmt.Errorf("the switch's port: %w", err)
		}
		select {
		case room <- struct{}{}:
		default:
			s.Log.WarnContext(ctx, "switch refused: too many connections")
			conn.Close()
			continue
		}
		all.Go(func() {
			defer func() { <-room }()
			s.connection(ctx, conn)
		})
	}
}

// connection answers one connection's messages in order.
func (s *Server) connection(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	in := bufio.NewReader(conn)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(idle))
		text, err := readFrame(in)
		if err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				s.Log.WarnContext(ctx, "switch disconnected", "reason", reason(err))
			}
			return
		}
		start := time.Now()
		work, cancel := context.WithTimeout(ctx, answerWithin)
		out, code, err := s.answer(work, text)
		cancel()
		clear(text)
		if err != nil {
			s.Log.WarnContext(ctx, "switch disconnected", "reason", err.Error())
			return
		}
		s.Log.InfoContext(ctx, "switch message", "type", string(out[:4]), "code", code, "milliseconds", float64(time.Since(start).Microseconds())/1000)
		_ = conn.SetWriteDeadline(time.Now().Add(answerWithin))
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}

// reason is an error of the network without addresses.
func reason(err error) string {
	if errors.Is(err, ErrFrame) {
		return err.Error()
	}
	return "the connection broke or was idle"
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n < 12 || n > maxMessage {
		return nil, ErrFrame
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}

// answer answers one message and says with which response code.
func (s *Server) answer(ctx context.Context, text []byte) (out []byte, code string, err error) {
	in := lib.NewMessage(spec)
	// The library's errors may quote a message.
	if err := in.Unpack(text); err != nil {
		return nil, "", ErrMessage
	}
	kind, err := in.GetMTI()
	if err != nil {
		return nil, "", ErrMessage
	}
	reply := lib.NewMessage(spec)
	switch kind {
	case "0800":
		reply.MTI("0810")
		code = bank.Approved
	case "0100":
		reply.MTI("0110")
		var data []byte
		if code, data = s.authorize(ctx, in); data != nil {
			if err := reply.BinaryField(fieldICC, tlv.Encode(0x91, data)); err != nil {
				return nil, "", err
			}
		}
	default:
		return nil, "", ErrType
	}
	present := in.GetFields()
	for _, n := range echoed {
		if present[n] == nil {
			continue
		}
		v, err := in.GetString(n)
		if err == nil {
			err = reply.Field(n, v)
		}
		if err != nil {
			return nil, "", ErrMessage
		}
	}
	if err := reply.Field(fieldCode, code); err != nil {
		return nil, "", err
	}
	if out, err = reply.Pack(); err != nil {
		return nil, "", ErrMessage
	}
	return out, code, nil
}

// authorize has the cryptogram of a request verified.
func (s *Server) authorize(ctx context.Context, in *lib.Message) (code string, data []byte) {
	pan, err1 := in.GetString(fieldPAN)
	digits, err2 := in.GetString(fieldSequence)
	icc, err3 := in.GetBytes(fieldICC)
	if digits == "" {
		digits = "000" // a card without a number
	}
	sequence, err4 := strconv.Atoi(digits)
	if errors.Join(err1, err2, err3, err4) != nil || payment.CheckPAN(pan, "") != nil || sequence < 0 || sequence > 99 || len(icc) == 0 {
		return codeFormat, nil
	}
	v, err := s.Bank.Authorize(ctx, bank.Query{PAN: payment.PAN(pan), Sequence: byte(sequence), ICC: icc})
	switch {
	case errors.Is(err, bank.ErrICC):
		return codeFormat, nil
	case err != nil:
		s.Log.ErrorContext(ctx, "a cryptogram could not be verified", "cause", err.Error())
		return codeUnavailable, nil
	}
	return v.Code, v.IssuerData
}
