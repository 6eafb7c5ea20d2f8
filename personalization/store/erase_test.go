package store

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// payments counts what is still kept of the bank's secrets: rows with groupings,
// tracks, CVV2 and keys, and PINs.
func (b *bench) payments() (images, pins int) {
	b.t.Helper()
	conn, err := adminConn(b)
	b.must(err)
	defer conn.Close(b.ctx)
	b.must(conn.QueryRow(b.ctx, `SELECT (SELECT count(*) FROM cardbureau.payment_image), (SELECT count(*) FROM cardbureau.pin_mailer WHERE sealed IS NOT NULL)`).Scan(&images, &pins))
	return images, pins
}

// leftovers names the columns of the whole database that still hold a value, whatever
// table they are in.
func (b *bench) leftovers(value string) (out []string) {
	b.t.Helper()
	conn, err := adminConn(b)
	b.must(err)
	defer conn.Close(b.ctx)
	rows, err := conn.Query(b.ctx, "SELECT format('%I.%I', table_schema, table_name), column_name FROM information_schema.columns WHERE table_schema = 'cardbureau' AND data_type = 'bytea'")
	b.must(err)
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Table, Column string }])
	b.must(err)
	for _, c := range columns {
		var n int
		b.must(conn.QueryRow(b.ctx, "SELECT count(*) FROM "+c.Table+" WHERE "+pgx.Identifier{c.Column}.Sanitize()+" = $1", []byte(value)).Scan(&n))
		if n > 0 {
			out = append(out, c.Table+" "+c.Column)
		}
	}
	if len(columns) < 20 {
		b.t.Fatalf("only %d columns were searched", len(columns))
	}
	return out
}

// TestErased: tracks, verification values and keys are in no table once their card is
// issued, and PINs in none once they are printed or their card is revoked.
func TestErased(t *testing.T) {
	b := newBench(t)
	b.must(b.AddRange(b.ctx, Range{Name: "r", Prefix: "58921099", Length: 16, Size: 100}, b.ali))
	b.blanks(3)
	st := b.station()
	order := b.waiting(9)
	_, err := b.AssignAccount(b.ctx, order, sealedAccount("not issued"), b.ali)
	b.must(err)
	b.bankImage(order, 9)
	if found := b.leftovers("groupings"); !slices.Equal(found, []string{"cardbureau.payment_image content"}) {
		t.Fatalf("the search finds %v", found)
	}
	if images, pins := b.payments(); images != 1 || pins != 1 {
		t.Fatalf("before the issue: %d, %d", images, pins)
	}
	_, err = b.WithdrawAccount(b.ctx, order, "", "closed", b.ali)
	b.must(err)
	if images, pins := b.payments(); images != 0 || pins != 0 {
		t.Errorf("after a withdrawal: %d, %d", images, pins)
	}
	var numbers []string
	for n := range 3 {
		_, im, _ := b.bankCard(st, n)
		numbers = append(numbers, im.CardNumber)
	}
	for _, value := range []string{"groupings", "payment secrets"} {
		if found := b.leftovers(value); found != nil {
			t.Errorf("after the issue: %s in %v", value, found)
		}
	}
	if images, pins := b.payments(); images != 0 || pins != 3 {
		t.Errorf("after the issue: %d, %d", images, pins)
	}

	// One is revoked before any is printed, one after its batch was released.
	b.must(b.SetCardState(b.ctx, numbers[0], "made", "revoked", "lost", b.ali))
	if _, pins := b.payments(); pins != 2 {
		t.Errorf("after a revocation: %d PINs", pins)
	}
	batch := NewID()
	if n, err := b.OpenMailerBatch(b.ctx, batch, time.Now().Add(-time.Hour), 10, b.zahra); err != nil || n != 0 {
		t.Errorf("cards of this hour: %d, %v", n, err)
	}
	if n, err := b.OpenMailerBatch(b.ctx, batch, time.Now().Add(time.Minute), 10, b.zahra); err != nil || n != 2 {
		t.Fatalf("a batch: %d, %v", n, err)
	}
	if n, err := b.OpenMailerBatch(b.ctx, NewID(), time.Now().Add(time.Minute), 10, b.zahra); err != nil || n != 0 {
		t.Errorf("a PIN is in two batches: %d, %v", n, err)
	}
	for name, by := range map[string]Actor{"who opened it": b.zahra, "who released the cards": b.ali} {
		if err := b.ReleaseMailerBatch(b.ctx, batch, by); !errors.Is(err, ErrSamePerson) {
			t.Errorf("%s releases: %v", name, err)
		}
	}
	list, err := b.MailerBatch(b.ctx, batch)
	if err != nil || len(list) != 0 {
		t.Errorf("not released: %d, %v", len(list), err)
	}
	if err := b.MailersPrinted(b.ctx, batch, b.zahra); !errors.Is(err, ErrWrongState) {
		t.Errorf("printed and not released: %v", err)
	}
	third := b.actor("operator", "rahmani")
	b.must(b.ReleaseMailerBatch(b.ctx, batch, third))
	b.must(b.SetCardState(b.ctx, numbers[1], "made", "revoked", "lost", b.ali))
	list, err = b.MailerBatch(b.ctx, batch)
	if err != nil || len(list) != 1 {
		t.Fatalf("released: %d, %v", len(list), err)
	}
	b.must(b.MailersPrinted(b.ctx, batch, third))
	if list, err = b.MailerBatch(b.ctx, batch); err != nil || len(list) != 0 {
		t.Errorf("printed: %d, %v", len(list), err)
	}
	if found := b.leftovers("mailer"); found != nil {
		t.Errorf("after printing: PINs in %v", found)
	}
	for name, err := range map[string]error{
		"printed twice": b.MailersPrinted(b.ctx, batch, third), "released again": b.ReleaseMailerBatch(b.ctx, batch, third),
	} {
		if !errors.Is(err, ErrWrongState) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.MailersPrinted(b.ctx, NewID(), third); !errors.Is(err, ErrNotFound) {
		t.Errorf("no batch: %v", err)
	}
	b.balanced()
}
