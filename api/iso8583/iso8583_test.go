package iso8583

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"cardbureau/personalization/bank"
)

// question stands in for the bureau: it says what it was asked.
type question struct {
	mu  sync.Mutex
	got []bank.Query
	v   bank.Verdict
	err error
}

func (q *question) Authorize(_ context.Context, in bank.Query) (bank.Verdict, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.got = append(q.got, in)
	return q.v, q.err
}

const pan = "5892109900000018" // of the test range, with its check digit

func running(t *testing.T, a Authorizer) (net.Conn, *bytes.Buffer) {
	t.Helper()
	return runningServer(t, &Server{Bank: a})
}

// runningServer serves until the test ends, and looks into the log then.
func runningServer(t *testing.T, s *Server) (net.Conn, *bytes.Buffer) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Serve(ctx, l)
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if strings.Contains(log.String(), pan) || strings.Contains(log.String(), pan[6:]) {
			t.Errorf("the log holds the PAN: %s", log.String())
		}
	})
	return conn, &log
}

func TestAuthorization(t *testing.T) {
	data := []byte{1, 2, 3, 4, 0, 0x82, 0, 0}
	a := &question{v: bank.Verdict{Valid: true, Code: bank.Approved, IssuerData: data}}
	conn, _ := running(t, a)
	icc := iccOf(250000)
	r, err := Ask(t.Context(), conn, Question{PAN: pan, Sequence: 1, Amount: 250000, STAN: 17, ICC: icc})
	if err != nil || r.Code != "00" || !bytes.Equal(r.IssuerData, data) {
		t.Fatalf("%+v, %v", r, err)
	}
	if q := a.got[0]; string(q.PAN) != pan || q.Sequence != 1 || !bytes.Equal(q.ICC, icc) {
		t.Error("another question arrived")
	}
	// No data for the card.
	a.v = bank.Verdict{Code: bank.UnknownCard}
	if r, err := Ask(t.Context(), conn, Question{PAN: pan, Sequence: 2, Amount: 250000, ICC: icc}); err != nil || r.Code != "14" || r.IssuerData != nil {
		t.Errorf("%+v, %v", r, err)
	}
	for err, code := range map[error]string{bank.ErrICC: "30", errors.New("down"): "91"} {
		a.err = err
		if r, err := Ask(t.Context(), conn, Question{PAN: pan, Sequence: 2, Amount: 250000, ICC: icc}); err != nil || r.Code != code {
			t.Errorf("%+v, %v", r, err)
		}
	}
	// A PAN with a wrong check digit never reaches the bureau.
	n := len(a.got)
	if r, err := Ask(t.Context(), conn, Question{PAN: "5892109900000017", Sequence: 2, Amount: 250000, ICC: icc}); err != nil || r.Code != "30" || len(a.got) != n {
		t.Errorf("%+v, %v", r, err)
	}
}

// iccOf is a minimal element 55 over an amount of rials.
func iccOf(amount uint64) []byte {
	b, err := hex.DecodeString("9f36020007" + fmt.Sprintf("9f0206%012d", amount) + "5f2a020364")
	if err != nil {
		panic(err)
	}
	return b
}

// TestContradictions: the message must say what the card has signed, hold digits where
// digits belong, and end where it ends. Each is answered, and the bureau is not asked.
func TestContradictions(t *testing.T) {
	a := &question{v: bank.Verdict{Valid: true, Code: bank.Approved}}
	s := &Server{Bank: a, Log: slog.New(slog.DiscardHandler)}
	const bitmap = "\x70\x20\x02\x00\x00\x40\x82\x00" // 2 3 4 11 23 42 49 55
	message := func(amount, stan, sequence, merchant, currency, icc, tail string) []byte {
		return []byte("0100" + bitmap + "16" + pan + "000000" + amount + stan + sequence + merchant + currency + fmt.Sprintf("%03d", len(icc)) + icc + tail)
	}
	good := string(iccOf(250000))
	const merchant = "CARDBUREAU TEST"
	for name, m := range map[string][]byte{
		"another amount":      message("000000250001", "000043", "001", merchant, "364", good, ""),
		"another currency":    message("000000250000", "000043", "001", merchant, "840", good, ""),
		"no amount signed":    message("000000250000", "000043", "001", merchant, "364", "\x9f\x36\x02\x00\x07", ""),
		"letters as amount":   message("00000025000x", "000043", "001", merchant, "364", good, ""),
		"letters as a number": message("000000250000", "00004x", "001", merchant, "364", good, ""),
		"a signed sequence":   message("000000250000", "000043", "-01", merchant, "364", good, ""),
		"bytes behind it":     message("000000250000", "000043", "001", merchant, "364", good, "x"),
	} {
		out, code, err := s.answer(t.Context(), m)
		if err != nil || code != "30" || string(out[:4]) != "0110" {
			t.Errorf("%s: %q %q, %v", name, out, code, err)
		}
	}
	if len(a.got) != 0 {
		t.Errorf("the bureau was asked %d times", len(a.got))
	}
	if out, code, err := s.answer(t.Context(), message("000000250000", "000043", "001", merchant, "364", good, "")); err != nil || code != "00" {
		t.Errorf("%q %q, %v", out, code, err)
	}
	// A PAN of 14 digits in the merchant's place is not repeated.
	short := "58921099000001"
	m := []byte("0100" + bitmap + "14" + short + "000000" + "000000250000" + "000043" + "001" + "5" + short + "364" + "019" + good)
	m = bytes.Replace(m, []byte("5"+short), []byte(short+" "), 1)
	if out, code, err := s.answer(t.Context(), m); err != nil || code != "30" || bytes.Contains(out, []byte(short)) {
		t.Errorf("%q %q, %v", out, code, err)
	}
}

// TestOtherTypes: what the bureau has nothing to do with is answered, with elements
// behind the second bitmap too.
func TestOtherTypes(t *testing.T) {
	s := &Server{Bank: &question{}, Log: slog.New(slog.DiscardHandler)}
	for in, want := range map[string]string{
		"0200": "0210 40", "0201": "0210 40", "0120": "0130 40", "0400": "0410 40", "0420": "0430 40", "0421": "0430 40", "0820": "0830 00", "0801": "0810 00",
	} {
		m := in + "\x80\x20\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x40\x04\x00\x00\x00" + "000043" + strings.Repeat("0", 42) + "04ABCD"
		out, code, err := s.answer(t.Context(), []byte(m))
		if err != nil || string(out[:4])+" "+code != want {
			t.Errorf("%s: %q %q, %v", in, out, code, err)
		}
	}
}

// refusing is a listener that fails now and then.
type refusing struct {
	net.Listener
	n int
}

func (r *refusing) Accept() (net.Conn, error) {
	if r.n++; r.n < 4 {
		return nil, errors.New("too many open files")
	}
	return r.Listener.Accept()
}

// TestAcceptAgain: an error of one connection does not end the port.
func TestAcceptAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- (&Server{Bank: &question{v: bank.Verdict{Code: "00"}}, Log: slog.New(slog.DiscardHandler)}).Serve(ctx, &refusing{Listener: l})
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if r, err := Ask(t.Context(), conn, Question{PAN: pan, Sequence: 1, Amount: 1, ICC: iccOf(1)}); err != nil || r.Code != "00" {
		t.Errorf("%+v, %v", r, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestBytes holds the wire against messages that were written by hand: MTI in
// ASCII, bitmap in binary, element 70 behind a secondary bitmap.
func TestBytes(t *testing.T) {
	s := &Server{Bank: &question{v: bank.Verdict{Code: "78", IssuerData: []byte{9, 9, 9, 9, 9, 9, 9, 9}}}, Log: slog.New(slog.DiscardHandler)}
	for _, c := range []struct{ in, out string }{
		// 0800 with 7, 11 and 70 = 301.
		{hex.EncodeToString([]byte("0800")) + "8220000000000000" + "0400000000000000" + hex.EncodeToString([]byte("1125231500"+"000042"+"301")),
			hex.EncodeToString([]byte("0810")) + "8220000002000000" + "0400000000000000" + hex.EncodeToString([]byte("1125231500"+"000042"+"00"+"301"))},
		// 0100 with 2, 3, 4, 11, 23, 55.
		{hex.EncodeToString([]byte("0100")) + "7020020000000200" + hex.EncodeToString([]byte("16"+pan+"000000"+"000000250000"+"000043"+"001"+"019")) + "9f36020007" + "9f0206000000250000" + "5f2a020364",
			hex.EncodeToString([]byte("0110")) + "3020000002000200" + hex.EncodeToString([]byte("000000"+"000000250000"+"000043"+"78"+"010")) + "91080909090909090909"},
	} {
		in, err := hex.DecodeString(c.in)
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := s.answer(t.Context(), in)
		if err != nil || hex.EncodeToString(out) != c.out {
			t.Errorf("%x\nwant %s\n%v", out, c.out, err)
		}
	}
}

// TestUnreadable: what is no message ends the connection, and the log has no word of it.
func TestUnreadable(t *testing.T) {
	for _, frame := range []string{
		"\x00\x03abc", "\xff\xff" + pan,
		"\x00\x140100" + pan,
		"\x00\x0c0110\x00\x00\x00\x00\x00\x00\x00\x00",
		"\x00\x0c0140\x00\x00\x00\x00\x00\x00\x00\x00",
		"\x00\x0c1100\x00\x00\x00\x00\x00\x00\x00\x00",
	} {
		conn, _ := running(t, &question{})
		if _, err := conn.Write([]byte(frame)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 16)); err == nil {
			t.Errorf("%q was answered with %d bytes", frame, n)
		}
	}
}
