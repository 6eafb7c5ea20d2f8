package bank

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"cardbureau/personalization/image"
	"cardbureau/personalization/payment"
	"cardbureau/personalization/store"
	"cardbureau/personalization/vault"
)

// TestMessages: what the bank sends is deciphered, of a key of the bank's and of
// today, or it is not taken; and no sentence repeats any of it.
func TestMessages(t *testing.T) {
	c := newCounter(t)
	now := time.Now().UTC()
	good := Message{IssuedAt: now, Withdrawals: []Withdrawal{{"A-1", "closed"}}}
	m, err := c.Open(c.ctx, "\n"+c.message(good, c.sign, "bank-1", MessageType)+"\n")
	if err != nil || len(m.Withdrawals) != 1 || m.Withdrawals[0].Reference != "A-1" {
		t.Fatalf("%+v, %v", m, err)
	}
	at := func(when time.Time) Message { return Message{IssuedAt: when} }
	many := Message{IssuedAt: now, Withdrawals: make([]Withdrawal, 1001)}
	other := struct {
		Message
		Office string `json:"office"`
	}{good, "o1"}
	for name, x := range map[string]struct {
		text string
		want error
	}{
		"nothing":            {"", ErrMessage},
		"not enciphered":     {"a.b.c", ErrMessage},
		"cut":                {c.message(good, c.sign, "bank-1", MessageType)[:200], ErrMessage},
		"not signed":         {c.sealed([]byte(`{"issuedAt":"2026-11-25T10:00:00Z"}`)), ErrMessage},
		"of another type":    {c.message(good, c.sign, "bank-1", "jwt"), ErrMessage},
		"an unknown member":  {c.message(other, c.sign, "bank-1", MessageType), ErrMessage},
		"more than 1000":     {c.message(many, c.sign, "bank-1", MessageType), ErrMessage},
		"another's key":      {c.message(good, c.open, "bank-1", MessageType), ErrSignature},
		"a key not known":    {c.message(good, c.sign, "bank-2", MessageType), ErrSignature},
		"the files' key":     {c.message(good, c.sign, "bank-files", MessageType), ErrSignature},
		"older than a day":   {c.message(at(now.Add(-24*time.Hour-time.Minute)), c.sign, "bank-1", MessageType), ErrAge},
		"ahead of the clock": {c.message(at(now.Add(6*time.Minute)), c.sign, "bank-1", MessageType), ErrAge},
		"without a time":     {c.message(at(time.Time{}), c.sign, "bank-1", MessageType), ErrAge},
	} {
		if _, err := c.Open(c.ctx, x.text); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", name, err, x.want)
		} else if strings.Contains(err.Error(), "A-1") || strings.Contains(err.Error(), "office") {
			t.Errorf("%s: the sentence repeats the message: %v", name, err)
		}
	}
}

// TestAccounts: each item has an answer of its own, the same again is answered again,
// and an account is taken back until a card is begun.
func TestAccounts(t *testing.T) {
	c := newCounter(t)
	order, record := c.waiting()
	good := Assignment{Reference: "T-1", RecordID: record, Account: c.account(9001)}
	with := func(change func(*Assignment)) Assignment {
		a := good
		change(&a)
		return a
	}
	for _, x := range []struct {
		name         string
		item         Assignment
		status, code string
	}{
		{"no reference", with(func(a *Assignment) { a.Reference = "" }), Refused, CodeFormat},
		{"a long reference", with(func(a *Assignment) { a.Reference = strings.Repeat("x", 65) }), Refused, CodeFormat},
		{"order and record", with(func(a *Assignment) { a.OrderID = order.String() }), Refused, CodeFormat},
		{"neither", with(func(a *Assignment) { a.RecordID = "" }), Refused, CodeFormat},
		{"no identifier", with(func(a *Assignment) { a.RecordID = "1; DROP" }), Refused, CodeFormat},
		{"another order", with(func(a *Assignment) { a.RecordID = store.NewID().String() }), Refused, CodeOrder},
		{"IBAN of 25", with(func(a *Assignment) { a.IBAN = a.IBAN[:25] }), Refused, CodeAccount},
		{"IBAN of another bank", with(func(a *Assignment) { a.IBAN = "IR820540102680020817909002" }), Refused, CodeAccount},
		{"no account", with(func(a *Assignment) { a.Account.Account = "12" }), Refused, CodeAccount},
		{"PAN of another issuer", with(func(a *Assignment) { a.PAN = "4111111111111111" }), Refused, CodeAccount},
		{"PAN with a wrong digit", with(func(a *Assignment) { a.PAN = "5892109900000019" }), Refused, CodeAccount},
		{"name of other letters", with(func(a *Assignment) { a.Name = "امینی" }), Refused, CodeAccount},
		{"good", good, Done, ""},
		{"good again", good, Already, ""},
		{"another account", with(func(a *Assignment) { a.Account = c.account(9002) }), Refused, CodeDiffers},
		{"a second account", with(func(a *Assignment) { a.Reference = "T-2" }), Refused, CodeState},
	} {
		got := c.one(c.Assign(c.ctx, []Assignment{x.item}, "api", c.ali))
		if got.Status != x.status || got.Code != x.code || (got.Detail == "") != (x.code == "") {
			t.Errorf("%s: %+v, want %s %s", x.name, got, x.status, x.code)
		}
		if strings.Contains(got.Detail, good.IBAN) || x.item.PAN != "" && strings.Contains(got.Detail, x.item.PAN) {
			t.Errorf("%s: the answer repeats the account: %s", x.name, got.Detail)
		}
	}
	for _, x := range []struct {
		name         string
		item         Withdrawal
		status, code string
	}{
		{"no reference", Withdrawal{"", "closed"}, Refused, CodeFormat},
		{"no reason", Withdrawal{"T-1", ""}, Refused, CodeFormat},
		{"a long reason", Withdrawal{"T-1", strings.Repeat("x", 33)}, Refused, CodeFormat},
		{"not known", Withdrawal{"T-9", "closed"}, Refused, CodeReference},
		{"good", Withdrawal{"T-1", "closed"}, Done, ""},
		{"good again", Withdrawal{"T-1", "closed"}, Already, ""},
	} {
		if got := c.one(c.Withdraw(c.ctx, []Withdrawal{x.item}, c.ali)); got.Status != x.status || got.Code != x.code {
			t.Errorf("withdrawal, %s: %+v", x.name, got)
		}
	}
	// It waits again, and the reference that was taken back does not come back.
	list, err := c.Awaiting(c.ctx, "", 1000)
	c.must(err)
	found := false
	for _, w := range list {
		found = found || w.OrderID == order.String() && w.RecordID == record
	}
	if !found {
		t.Error("the order does not wait for another account")
	}
	if got := c.one(c.Assign(c.ctx, []Assignment{good}, "api", c.ali)); got.Code != CodeState {
		t.Errorf("a withdrawn account: %+v", got)
	}
	c.issue(9003)
	issued, err := c.Store.Outbox(c.ctx, 0, 1000)
	c.must(err)
	if len(issued) < 3 { // withdrawn, bound, issued
		t.Errorf("%d events", len(issued))
	}
	if _, err := c.Awaiting(c.ctx, "nonsense", 10); !errors.Is(err, ErrMessage) {
		t.Errorf("after nonsense: %v", err)
	}
}

// TestMatch: a yes for the card's own account, a no for everything else, and no more
// questions than a guesser could use.
func TestMatch(t *testing.T) {
	c := newCounter(t)
	card, other := c.issue(9101), c.issue(9102)
	ask := func(who string, token []byte, iban string) (bool, error) {
		return c.Match(c.ctx, who, token, 1, iban)
	}
	for name, x := range map[string]struct {
		token []byte
		iban  string
		want  bool
	}{
		"its own": {card.token, card.iban, true}, "another's": {card.token, other.iban, false}, "no card": {make([]byte, 16), card.iban, false},
	} {
		if got, err := ask("bank", x.token, x.iban); err != nil || got != x.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, err := c.Match(c.ctx, "bank", card.token, 2, card.iban); err != nil || got {
		t.Errorf("another sequence number: %v, %v", got, err)
	}
	// Three were asked about this card. Who asks makes no difference to the card's limit.
	var quota *store.ErrQuota
	for i := range matchesPerCardHour + 2 {
		_, err := ask([]string{"bank", "branch"}[i%2], card.token, card.iban)
		if asked := i + 3; (asked >= matchesPerCardHour) != errors.As(err, &quota) {
			t.Errorf("question %d: %v", asked+1, err)
		}
	}
	if quota == nil || !quota.Free.After(time.Now()) {
		t.Errorf("no word when to ask again: %+v", quota)
	}
	if got, err := ask("bank", other.token, other.iban); err != nil || !got {
		t.Errorf("another card is not free: %v, %v", got, err)
	}
}

// TestAccountsThatCannotBeUsed: what is wrong with an account is said in one sentence,
// and one that turns out to be of no use keeps its order from nothing: it is taken back,
// and another is given.
func TestAccountsThatCannotBeUsed(t *testing.T) {
	c := newCounter(t)
	theirs, _ := c.waiting()
	order, _ := c.waiting()
	give := func(order uuid.UUID, ref string, change func(*payment.Account)) Answer {
		t.Helper()
		a := c.account(8_000_000 + int(people.Add(1)))
		change(&a)
		return c.one(c.Assign(c.ctx, []Assignment{{Reference: ref + order.String(), OrderID: order.String(), Account: a}}, "api", c.ali))
	}
	pan := func(prefix string) string {
		p, err := payment.Range{Prefix: prefix, Length: 16}.PAN(7)
		c.must(err)
		return string(p)
	}
	given := pan("58921077")
	if got := give(theirs, "theirs ", func(*payment.Account) {}); got.Status != Done {
		t.Fatalf("%+v", got)
	}
	p, err := c.Store.OrderForPreparation(c.ctx, theirs)
	c.must(err)
	row := store.PAN{ID: store.NewID(), Last4: given[12:]}
	row.Token, err = c.Vault.PANToken(c.ctx, given)
	c.must(err)
	row.Sealed, err = c.Vault.Seal(c.ctx, vault.DataKey(p.Key), image.PANAAD(row.ID, p.PersonID), []byte(given))
	c.must(err)
	_, err = c.Store.GivenPAN(c.ctx, theirs, row)
	c.must(err)
	for name, x := range map[string]struct {
		change     func(*payment.Account)
		code, says string
	}{
		"IBAN of 25":     {func(a *payment.Account) { a.IBAN = a.IBAN[:25] }, CodeAccount, "this one has 25"},
		"check digits":   {func(a *payment.Account) { a.IBAN = "IR00" + a.IBAN[4:] }, CodeAccount, "check digits are wrong"},
		"Luhn":           {func(a *payment.Account) { a.PAN = "5892107700000078" }, CodeAccount, "check digit is wrong"},
		"another issuer": {func(a *payment.Account) { a.PAN = pan("60379977") }, CodeAccount, "of another issuer"},
		"in our range":   {func(a *payment.Account) { a.PAN = pan("58921099") }, CodePANRange, "without a PAN"},
		"another person": {func(a *payment.Account) { a.PAN = given }, CodePANTaken, "another person"},
	} {
		if got := give(order, name, x.change); got.Status != Refused || got.Code != x.code || !strings.Contains(got.Detail, x.says) || strings.Contains(got.Detail, given) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	same := func(*payment.Account) {}
	if got := give(order, "first ", same); got.Status != Done {
		t.Fatalf("%+v", got)
	}
	p, err = c.Store.OrderForPreparation(c.ctx, order)
	c.must(err)
	c.must(c.Store.AwaitBank(c.ctx, order, p.Generation, "pan-taken", c.ali)) // two messages came at once
	list, err := c.Awaiting(c.ctx, "", 1000)
	c.must(err)
	if !slices.ContainsFunc(list, func(w Waiting) bool { return w.OrderID == order.String() && w.Reason == "pan-taken" }) {
		t.Error("the bank is not told why the order waits")
	}
	if got := give(order, "second ", same); got.Code != CodeHas {
		t.Errorf("another account: %+v", got)
	}
	if got := c.one(c.Withdraw(c.ctx, []Withdrawal{{"first " + order.String(), "mistake"}}, c.ali)); got.Status != Done {
		t.Errorf("taken back: %+v", got)
	}
	if got := give(order, "second ", same); got.Status != Done {
		t.Errorf("another account after it: %+v", got)
	}
}
