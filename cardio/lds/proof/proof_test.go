package proof

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	var r Report
	if r.OK() || !errors.Is(r.Err(), ErrNothingChecked) {
		t.Error("an empty report proves nothing")
	}
	r.Skip("crl", "none is given")
	if r.OK() || !errors.Is(r.Err(), ErrNothingChecked) {
		t.Error("what is skipped proves nothing")
	}
	if !r.Note("access", nil) || !r.OK() || r.Err() != nil || !r.Held("access") || r.Held("crl") || r.Held("other") {
		t.Errorf("one check that held:\n%s", &r)
	}
	cause := errors.New("it differs")
	if r.Note("hash.dg2", fmt.Errorf("DG2: %w", cause)) || r.OK() || r.Held("hash.dg2") {
		t.Error("a failure does not count")
	}
	var failed *FailedError
	if err := r.Err(); !errors.As(err, &failed) || !errors.Is(err, cause) || len(failed.Checks) != 1 || err.Error() != "hash.dg2: DG2: it differs" {
		t.Errorf("the error is %v", err)
	}
	var all Report
	all.Pass("first", "")
	all.Add(r)
	want := "ok   first\nskip crl: none is given\nok   access\nFAIL hash.dg2: DG2: it differs\n"
	if got := all.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if strings.Count(want, "\n") != len(all.Checks) {
		t.Error("a line a check")
	}
}
