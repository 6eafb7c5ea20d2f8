// Package iso8583 answers a bank's switch: it takes authorization requests (0100)
// with the card's data in element 55, has the cryptogram verified, and answers 0110
// with the response code as far as the card goes and the issuer authentication data
// for it. 0800 is answered with 0810, and what the bureau has nothing to do with by
// response code 40.
//
// A message is framed by its length, two bytes, high byte first. Messages: ISO
// 8583:1987, MTI and texts in ASCII, bitmaps in binary. No log holds a PAN or a message, and
// no answer the request's PAN.
package iso8583

import (
	"bufio"
	"cmp"
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
	codeFormat      = "30" // the message lacks what it needs, or contradicts itself
	codeFunction    = "40" // the bureau does nothing of this kind
	codeUnavailable = "91" // the bureau cannot answer now
)

// Limits of a connection; Server has those that can be set.
const (
	maxMessage    = 4096 // bytes
	idle          = 5 * time.Minute
	answerWithin  = 10 * time.Second
	greatestPause = time.Second // between two tries to accept a connection
)

// Server answers a switch.
type Server struct {
	Bank Authorizer
	Log  *slog.Logger
	// FrameWithin is the longest time from a frame's first byte to its last; 0: 10 s.
	FrameWithin time.Duration
	// MaxConnections is how many are answered at once; 0: 64.
	MaxConnections int
}

func (s *Server) frameWithin() time.Duration { return cmp.Or(s.FrameWithin, 10*time.Second) }
func (s *Server) maxConnections() int        { return cmp.Or(s.MaxConnections, 64) }

// Errors of messages that get no answer: the connection is closed. They hold nothing
// of a message.
var (
	ErrFrame   = errors.New("the frame's length is not that of a message")
	ErrMessage = errors.New("the message cannot be read: it is not of the format that this adapter speaks")
	ErrType    = errors.New("the message's type is no request of ISO 8583:1987")
)

// Serve answers connections until ctx ends, and closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	room := make(chan struct{}, s.maxConnections())
	var pause time.Duration
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			cancel()
			return fmt.Errorf("the switch's port: %w", err)
		default: // too many open files, a connection that was gone at once, …
			pause = min(max(2*pause, 5*time.Millisecond), greatestPause)
			s.Log.WarnContext(ctx, "switch not accepted", "cause", err.Error(), "again", pause.String())
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			continue
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
		_, err := in.Peek(1)
		var text []byte
		if err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(s.frameWithin()))
			text, err = readFrame(in)
		}
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
	in := lib.NewMessage(specOf(text))
	// The library's errors may quote a message.
	if err := in.Unpack(text); err != nil {
		return nil, "", ErrMessage
	}
	kind, err := in.GetMTI()
	if err != nil {
		return nil, "", ErrMessage
	}
	answering, ok := replyType(kind)
	if !ok {
		return nil, "", ErrType
	}
	repeats := echoOf(in, text)
	reply := lib.NewMessage(spec)
	reply.MTI(answering)
	switch {
	case !repeats.fits:
		code = codeFormat
	case kind[1] == '8':
		code = bank.Approved
	case kind[:3] == "010":
		var data []byte
		if code, data = s.authorize(ctx, in); data != nil {
			if err := reply.BinaryField(fieldICC, tlv.Encode(0x91, data)); err != nil {
				return nil, "", err
			}
		}
	default:
		code = codeFunction
	}
	repeats.part(code)
	for n, v := range repeats.values {
		if err := reply.Field(n, v); err != nil {
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
	if !agree(in, icc) {
		return codeFormat, nil
	}
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

// replyType is the type that answers a request or an advice (ISO 8583:1987, clause
// 4.2): the repeat of a question gets the answer of the question.
func replyType(kind string) (string, bool) {
	if len(kind) != 4 || kind[0] != '0' || kind[1] < '1' || kind[1] > '8' || kind[3] < '0' || kind[3] > '5' || kind[2] != '0' && kind[2] != '2' {
		return "", false
	}
	return kind[:2] + string(kind[2]+1) + "0", true
}
