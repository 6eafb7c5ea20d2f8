// Package sample makes records of people who do not exist: for the demo, for
// benchmarks, for training. The same options give the same records (portraits
// follow the image encoder of the Go release).
//
// Of every 24 records 8 have Dari, 6 Persian, 5 Pashto and 5 Arabic names; 5 are
// of minors with guardians, 3 birth dates are partly unknown, 2 people have one
// name only. Some carry their Latin spelling and some leave it to the
// transliteration. The portraits are drawn, and all different.
//
// The records are not signed: that is the caller's to do.
package sample

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"cardbureau/personalization/payment"
	"cardbureau/personalization/record"
)

// Block is the number of records after which the mix of people repeats (with
// other names, dates and faces).
const Block = 24

// Options say which records to make.
type Options struct {
	N    int    // how many; 0: Block
	Seed uint64 // other seeds make other people
	// Audience is the bureau that the records are for.
	Audience string
	// IssuedAt is the time of the records; ages are counted from it. Fractions
	// of a second are dropped.
	IssuedAt time.Time
	// ExpiresAt ends the records' life; zero: 30 days after IssuedAt.
	ExpiresAt time.Time
	// Bank says which records bring the account that the bank has opened; nil: none.
	Bank func(i int) bool
}

// Records makes the records one after another, numbered from 0.
func Records(o Options) iter.Seq2[int, record.Record] {
	n := o.N
	if n == 0 {
		n = Block
	}
	return func(yield func(int, record.Record) bool) {
		for i := range n {
			if !yield(i, Make(o, i)) {
				return
			}
		}
	}
}

// Payloads makes the JSON payloads of Records, ready to be signed.
func Payloads(o Options) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for i, r := range Records(o) {
			b, err := json.Marshal(r)
			if err != nil {
				panic(fmt.Sprintf("sample: a record is not JSON: %v", err)) // no field can fail
			}
			if !yield(i, b) {
				return
			}
		}
	}
}

// slot is what is fixed about a place in the block.
type slot struct {
	people   *people
	sex      string
	age      int    // full years
	unknown  int    // of the birth date: 1 the day, 2 month and day
	single   bool   // one name only
	latin    string // which parts carry a Latin spelling: "both", "given", ""
	guardian int    // slot of the guardian; -1: an institution
	nation   string
	permit   string
}

// Slots 0–7 Dari, 8–13 Persian, 14–18 Pashto, 19–23 Arabic. Those under 18 have
// a guardian.
var slots = [Block]slot{
	{people: &dari, sex: "M", age: 41, latin: "both", nation: "AFG", permit: "amayesh"},
	{people: &dari, sex: "F", age: 36, latin: "both", nation: "AFG", permit: "amayesh"},
	{people: &dari, sex: "F", age: 11, latin: "", nation: "AFG", permit: "amayesh", guardian: 0},
	{people: &dari, sex: "M", age: 4, latin: "both", nation: "AFG", permit: "amayesh", guardian: 1},
	{people: &dari, sex: "M", age: 29, single: true, latin: "", nation: "AFG", permit: "census"},
	{people: &dari, sex: "M", age: 63, unknown: 2, latin: "", nation: "AFG", permit: "hoviat"},
	{people: &dari, sex: "F", age: 22, latin: "both", nation: "AFG", permit: "student"},
	{people: &dari, sex: "M", age: 34, latin: "given", nation: "AFG", permit: "passport"},

	{people: &persian, sex: "M", age: 45, latin: "both", nation: "AFG", permit: "amayesh"},
	{people: &persian, sex: "F", age: 27, latin: "both", nation: "TJK", permit: "student"},
	{people: &persian, sex: "M", age: 20, latin: "both", nation: "TJK", permit: "student"},
	{people: &persian, sex: "F", age: 52, unknown: 1, latin: "", nation: "AFG", permit: "hoviat"},
	{people: &persian, sex: "M", age: 15, latin: "both", nation: "AFG", permit: "amayesh", guardian: 8},
	{people: &persian, sex: "F", age: 38, latin: "", nation: "AFG", permit: "census"},

	{people: &pashto, sex: "M", age: 48, latin: "both", nation: "AFG", permit: "amayesh"},
	{people: &pashto, sex: "F", age: 31, latin: "", nation: "AFG", permit: "amayesh"},
	{people: &pashto, sex: "M", age: 57, single: true, latin: "given", nation: "AFG", permit: "census"},
	{people: &pashto, sex: "F", age: 13, unknown: 1, latin: "", nation: "AFG", permit: "amayesh", guardian: 14},
	{people: &pashto, sex: "M", age: 25, latin: "both", nation: "AFG", permit: "passport"},

	{people: &arabic, sex: "M", age: 39, latin: "both", nation: "IRQ", permit: "hoviat"},
	{people: &arabic, sex: "F", age: 33, latin: "", nation: "IRQ", permit: "hoviat"},
	{people: &arabic, sex: "M", age: 8, latin: "", nation: "IRQ", permit: "hoviat", guardian: -1},
	{people: &arabic, sex: "F", age: 24, latin: "both", nation: "SYR", permit: "passport"},
	{people: &arabic, sex: "M", age: 66, latin: "", nation: "XXB", permit: "hoviat"},
}

// Make makes record number i, without those before it.
func Make(o Options, i int) record.Record {
	s, rnd := slots[i%Block], rand.New(rand.NewPCG(o.Seed, uint64(i)))
	issued := o.IssuedAt.UTC().Truncate(time.Second)
	expires := o.ExpiresAt.UTC().Truncate(time.Second)
	if o.ExpiresAt.IsZero() {
		expires = issued.AddDate(0, 0, 30)
	}
	today := record.DateOf(issued)
	r := record.Record{
		Schema: record.Schema, RecordID: uuid(rnd), Revision: 1, Audience: o.Audience,
		IssuedAt: issued, ExpiresAt: expires, Reason: "first",
		Person: record.Person{
			UniqueID:    uniqueID(o.Seed, i),
			Name:        s.name(rnd),
			FatherName:  s.father(rnd),
			Sex:         s.sex,
			BirthDate:   s.birth(rnd, today),
			BirthPlace:  pick(rnd, s.people.places).bilingual(s.latin != ""),
			Nationality: s.nation,
			Photo:       record.Photo{MediaType: "image/jpeg", Data: Portrait(rnd, s.sex, s.age)},
			LegacyDocuments: []record.LegacyDocument{
				{Kind: s.permit + "-card", Series: series(s.permit), Number: fmt.Sprintf("%09d", rnd.IntN(1e9))},
			},
			Household: &record.Household{ID: household(o.Seed, i, s), Head: s.age >= 35},
		},
		Residence: record.Residence{
			Permit: s.permit, Series: series(s.permit),
			ValidFrom: shift(today, -200), ValidUntil: shift(today, 530), Office: pick(rnd, offices),
		},
		Services: services(rnd, s, today),
	}
	if s.age < record.AdultAge {
		r.Person.Guardian = guardian(o.Seed, i, s)
	}
	if o.Bank != nil && o.Bank(i) {
		a := Account(o.Seed, i)
		r.Bank = &a
	}
	return r
}

// Account is the account of record number i at the bank of code 015.
func Account(seed uint64, i int) record.Bank {
	account := fmt.Sprintf("%04d%06d", seed%10000, i+1)
	iban, err := payment.IBAN("015", 0, account)
	if err != nil {
		panic("sample: " + err.Error()) // digits alone
	}
	return record.Bank{IBAN: iban, Account: account}
}

// birth is a date that makes the person s.age years old for sure, also where
// part of it is left out.
func (s slot) birth(rnd *rand.Rand, today record.Date) record.BirthDate {
	d := shift(today, -rnd.IntN(330)-32)
	b := record.BirthDate{Year: d.Year - s.age, Month: d.Month, Day: min(d.Day, 28)}
	switch s.unknown {
	case 2:
		b.Month, b.Day = 0, 0
	case 1:
		b.Day = 0
	}
	return b
}

func (s slot) given() []entry {
	if s.sex == "F" {
		return s.people.women
	}
	return s.people.men
}

func (s slot) name(rnd *rand.Rand) record.Names {
	family, given := pick(rnd, s.people.families), pick(rnd, s.given())
	n := record.Names{Local: record.Name{Family: family.local, Given: given.local}}
	if s.latin != "" {
		n.Latin.Given = given.latin
	}
	if s.latin == "both" {
		n.Latin.Family = family.latin
	}
	if s.single {
		n.Local.Family, n.Latin.Family = "", ""
	}
	return n
}

func (s slot) father(rnd *rand.Rand) *record.Bilingual {
	return pick(rnd, s.people.men).bilingual(s.latin == "both")
}

func guardian(seed uint64, i int, s slot) *record.Guardian {
	if s.guardian < 0 {
		return &record.Guardian{Kind: "institution", ID: fmt.Sprintf("INST-%04d", 1000+i%Block)}
	}
	return &record.Guardian{Kind: "person", ID: uniqueID(seed, i/Block*Block+s.guardian)}
}

// household is the guardian's for a child, else one's own.
func household(seed uint64, i int, s slot) string {
	at := i
	if s.age < record.AdultAge && s.guardian >= 0 {
		at = i/Block*Block + s.guardian
	}
	return fmt.Sprintf("H%02d%08d", seed%100, at)
}

func services(rnd *rand.Rand, s slot, today record.Date) []record.Service {
	out := []record.Service{{Code: "health-insurance", ValidFrom: shift(today, -100), ValidUntil: shift(today, 265)}}
	switch {
	case s.age < record.AdultAge || s.permit == "student":
		out = append(out, record.Service{Code: "education", ValidFrom: shift(today, -180), ValidUntil: shift(today, 185)})
	case rnd.IntN(2) == 0:
		out = append(out, record.Service{Code: "temporary-work", ValidFrom: shift(today, -30), ValidUntil: shift(today, 150)})
	}
	return append(out, record.Service{Code: "public-transport"})
}

func series(permit string) *int {
	n := map[string]int{"amayesh": 17, "hoviat": 16}[permit]
	if n == 0 {
		return nil
	}
	return &n
}

var offices = []string{"TH-0104", "KR-0021", "KH-0310", "FA-0045", "QM-0007", "YZ-0012"}

func pick[T any](rnd *rand.Rand, from []T) T { return from[rnd.IntN(len(from))] }

func shift(d record.Date, days int) record.Date { return record.DateOf(d.Time().AddDate(0, 0, days)) }

// uniqueID is twelve digits, the last by Luhn, different for every i below 10⁹.
func uniqueID(seed uint64, i int) string {
	body := fmt.Sprintf("%011d", 10_000_000_000+seed%80*1_000_000_000+uint64(i))
	return body + string(record.LuhnDigit(body))
}

// uuid is a random UUID (RFC 9562, version 4).
func uuid(rnd *rand.Rand) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], rnd.Uint64())
	binary.BigEndian.PutUint64(b[8:], rnd.Uint64())
	b[6], b[8] = b[6]&0x0F|0x40, b[8]&0x3F|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
