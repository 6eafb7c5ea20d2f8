package iso8583

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- (&Server{Bank: a, Log: slog.New(slog.NewTextHandler(&log, nil))}).Serve(ctx, l)
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
	icc := []byte{0x9F, 0x36, 2, 0, 7}
	r, err := Ask(t.Context(), conn, Question{PAN: pan, Sequence: 1, Amount: 250000, STAN: 17, ICC: icc})
	if err != nil || r.Code != "00" || !bytes.Equal(r.IssuerData, data) {
		t.Fatalf("%+v, %v", r, err)
	}
	if q := a.got[0]; string(q.PAN) != pan || q.Sequence != 1 || !bytes.Equal(q.ICC, icc) {
		t.Error("another question arrived")
	}
	// No data for the card.
	a.v = bank.Verdict{Code: bank.UnknownCard}
	if r, err := Ask(t.Context(), conn, Question{PAN: pan, Sequence: 2, ICC: icc}); err != nil || r.Code != "14" || r.IssuerData != nil {
		t.Errorf("%+v, %v", r, err)
	}
	for err, code := range map[error]string{bank.ErrICC: "30", errors.New("down"): "91"} {
		a.err = err
		if r, err := Ask(t.Context(), conn, Question{PAN: pan, Sequence: 2, ICC: icc}); err != nil || r.Code != code {
			t.Errorf("%+v, %v", r, err)
		}
	}
	// A PAN with a wrong check digit never reaches the bureau.
	n := len(a.got)
	if r, err := Ask(t.Context(), conn, Question{PAN: "5892109900000017", Sequence: 2, ICC: icc}); err != nil || r.Code != "30" || len(a.got) != n {
		t.Errorf("%+v, %v", r, err)
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
		{hex.EncodeToString([]byte("0100")) + "7020020000000200" + hex.EncodeToString([]byte("16"+pan+"000000"+"000000250000"+"000043"+"001"+"005")) + "9f36020007",
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
		"\x00\x0c0400\x00\x00\x00\x00\x00\x00\x00\x00",
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

func FuzzAnswer(f *testing.F) {
	head := []byte("0100\x70\x20\x02\x00\x00\x00\x02\x00")
	f.Add(append(head, "16"+pan+"000000000000250000000043001005\x9f\x36\x02\x00\x07"...))
	f.Add([]byte("0800\x82\x20\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x001125231500000042301"))
	s := &Server{Bank: &question{v: bank.Verdict{Code: "00"}}, Log: slog.New(slog.DiscardHandler)}
	f.Fuzz(func(t *testing.T, b []byte) {
		out, code, err := s.answer(t.Context(), bytes.Clone(b))
		if err == nil && (len(code) != 2 || len(out) < 12 || out[2] != '1') {
			t.Errorf("%q %q", code, out)
		}
	})
}
