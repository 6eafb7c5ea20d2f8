package identity_test

import (
	"fmt"

	"cardbureau/personalization/identity"
)

func ExampleTD1() {
	zone, err := identity.TD1(identity.MRZ{
		DocumentCode: "IR", State: "UTO", DocumentNumber: "B7K2M9X4C",
		BirthDate: "1990-05-00", Sex: "F", ExpiryDate: "2031-05-06", Nationality: "AFG",
		Primary: "KARIMI", Secondary: "ZAHRA",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(zone[:30])
	fmt.Println(zone[30:60])
	fmt.Println(zone[60:])
	// Output:
	// IRUTOB7K2M9X4C2<<<<<<<<<<<<<<<
	// 9005<<8F3105065AFG<<<<<<<<<<<0
	// KARIMI<<ZAHRA<<<<<<<<<<<<<<<<<
}
