package record_test

import (
	"fmt"

	"cardbureau/personalization/record"
)

func ExampleTransliterate() {
	for _, name := range []string{"محمد", "عبد الناصر", "فاطمة", "ملالۍ"} {
		mrz, err := record.Transliterate(name)
		fmt.Println(mrz, err)
	}
	// Output:
	// MXHMD <nil>
	// EBD<ALNAXSSR <nil>
	// FAXTTMXAH <nil>
	// MLALXXY <nil>
}

func ExampleRecord_MRZName() {
	var r record.Record
	r.Person.Name.Local = record.Name{Family: "رضایی", Given: "محمد"}
	r.Person.Name.Latin = record.Name{Family: "Rezaie", Given: "Mohammad-Ali"}
	name, err := r.MRZName()
	fmt.Println(name, err)
	// Output: REZAIE<<MOHAMMAD<ALI <nil>
}

func ExampleDescribe() {
	c := record.Describe(record.WrongAudience)
	fmt.Println(c.Status, c.Code, c.Sentence)
	// Output: 403 wrong-audience The record is meant for another bureau.
}
