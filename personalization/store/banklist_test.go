package store

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// TestBankListsAreNotKept: a list can be had again for 30 days; then its content
// goes with the next one, and its line in the chain stays.
func TestBankListsAreNotKept(t *testing.T) {
	b := newBench(t)
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	digest, previous := bytes.Repeat([]byte{1}, 32), make([]byte, 32)
	add := func(seq int64) {
		t.Helper()
		d := bytes.Repeat([]byte{byte(seq)}, 32)
		b.must(b.AppendBankList(b.ctx, "PANS", BankFile{Seq: seq, Day: day.AddDate(0, 0, int(seq)), Digest: d, Previous: previous, Totals: []byte(`{}`)}, []byte("list"), b.ali))
		previous = d
	}
	add(1)
	add(2)
	if _, err := b.BankListOf(b.ctx, "PANS", day.AddDate(0, 0, 1)); err != nil {
		t.Fatalf("the list before: %v", err)
	}
	b.must(b.owner("UPDATE bank_file SET made_at = made_at - interval '31 days' WHERE seq = 1"))
	add(3)
	if _, err := b.BankListOf(b.ctx, "PANS", day.AddDate(0, 0, 1)); !errors.Is(err, ErrNotFound) {
		t.Errorf("a list of 31 days ago: %v", err)
	}
	if _, err := b.BankListOf(b.ctx, "PANS", day.AddDate(0, 0, 2)); err != nil {
		t.Errorf("a list of today: %v", err)
	}
	files, err := b.BankFiles(b.ctx, "PANS")
	if err != nil || len(files) != 3 || !bytes.Equal(files[0].Digest, digest) {
		t.Errorf("the chain: %+v, %v", files, err)
	}
}
