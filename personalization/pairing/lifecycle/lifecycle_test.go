package lifecycle

import "testing"

func TestTable(t *testing.T) {
	way := []State{Reserved, Personalized, Proven, OperatorPending, Active}
	for i, from := range way {
		for j, to := range way {
			if got, want := from.May(to), j == i+1; got != want {
				t.Errorf("%s to %s: %v", from, to, got)
			}
		}
	}
	for _, s := range States {
		if s.May(s) {
			t.Errorf("%s follows itself", s)
		}
		if Revoked.May(s) || Expired.May(s) {
			t.Errorf("%s follows an end", s)
		}
		if s.Live() == (len(next[s]) == 0) {
			t.Errorf("%s is live: %v", s, s.Live())
		}
		if s.Live() && (!s.May(Revoked) || !s.May(Expired)) {
			t.Errorf("%s cannot end", s)
		}
		for _, unborn := range []State{Reserved, Personalized, Proven, OperatorPending} {
			if s.May(unborn) && (s == Active || s == Suspended || s == SwapPending) {
				t.Errorf("%s goes back to %s", s, unborn)
			}
		}
	}
	if State("").Live() || State("x").May(Revoked) || !SwapPending.May(Active) || Proven.May(Active) || OperatorPending.May(SwapPending) {
		t.Error("the table is not what it should be")
	}
}
