package main

import (
	"errors"
	"strings"
	"testing"

	"cardbureau/cardio/uicc"
)

// TestKeysOfBlanks: no keys are drawn for a blank that could not take them, and what was
// asked for is not silently another algorithm.
func TestKeysOfBlanks(t *testing.T) {
	old := &uicc.Kind{Name: "old"}
	both := &uicc.Kind{Name: "both", Algorithms: []string{uicc.Milenage, uicc.TUAK}}
	only := &uicc.Kind{Name: "only", Algorithms: []string{uicc.TUAK}}
	demands := &uicc.Kind{Name: "demands", Programming: []uicc.SIMFile{{Path: "A515/6F22", Value: "ota", KeySet: 1, Key: "kic"}}}
	given := &uicc.Kind{Name: "given", Programming: []uicc.SIMFile{{Path: "A515/6F22", Value: "ota", KeySet: 1, Key: "kic", If: "ota"}}}
	for _, c := range []struct {
		algorithm string
		kind      *uicc.Kind
		refused   string
	}{
		{"", old, ""}, {uicc.Milenage, old, ""}, {uicc.TUAK, old, "TUAK"},
		{"", both, ""}, {uicc.TUAK, both, ""}, {"", only, "MILENAGE"}, {uicc.TUAK, only, ""},
		{"", demands, "demands keys over the air"}, {"", given, ""},
	} {
		err := simProgram{Algorithm: c.algorithm}.mayDraw(c.kind)
		if (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%q for kind %s: %v", c.algorithm, c.kind.Name, err)
		}
		var algorithm *uicc.AlgorithmError
		if refused := c.refused == "TUAK" || c.refused == "MILENAGE"; errors.As(err, &algorithm) != refused {
			t.Errorf("%q for kind %s: %v", c.algorithm, c.kind.Name, err)
		}
	}
	tuak := &uicc.Subscription{TUAK: &uicc.TUAKParameters{}}
	for _, c := range []struct {
		algorithm string
		has       *uicc.Subscription
		ok        bool
	}{
		{"", tuak, true}, {uicc.TUAK, tuak, true}, {uicc.Milenage, tuak, false},
		{"", &uicc.Subscription{}, true}, {uicc.Milenage, &uicc.Subscription{}, true}, {uicc.TUAK, &uicc.Subscription{}, false},
	} {
		if err := (simProgram{Algorithm: c.algorithm}).agrees(c.has); (err == nil) != c.ok {
			t.Errorf("%q where keys are of %s: %v", c.algorithm, c.has.Algorithm(), err)
		}
	}
}
