// Package proof says what was checked on a card and how it went: a Report has
// one entry per check, with the reason in one sentence where it failed. It
// holds names of checks and reasons only, never what was read from the card.
package proof

import (
	"errors"
	"fmt"
	"strings"
)

// Check is the outcome of one check.
type Check struct {
	Name   string `json:"name"`             // stable, for programs: "hash.dg1", "access"
	OK     bool   `json:"ok"`               // it was made and held
	Skip   bool   `json:"skip,omitempty"`   // it was not made; Reason says why
	Reason string `json:"reason,omitempty"` // one sentence; empty where there is nothing to add
	Err    error  `json:"-"`                // the cause of a failure, for errors.Is
}

// String is one line: a mark, the name and the reason.
func (c Check) String() string {
	mark := "FAIL"
	switch {
	case c.OK:
		mark = "ok"
	case c.Skip:
		mark = "skip"
	}
	if c.Reason == "" {
		return fmt.Sprintf("%-4s %s", mark, c.Name)
	}
	return fmt.Sprintf("%-4s %s: %s", mark, c.Name, c.Reason)
}

// Report is a list of checks in the order they were made. The zero value is
// an empty report, which has not failed and proves nothing.
type Report struct {
	Checks []Check `json:"checks"`
}

// Pass records a check that held. The reason may be empty.
func (r *Report) Pass(name, reason string) {
	r.Checks = append(r.Checks, Check{Name: name, OK: true, Reason: reason})
}

// Fail records a check that did not hold.
func (r *Report) Fail(name string, err error) {
	r.Checks = append(r.Checks, Check{Name: name, Reason: err.Error(), Err: err})
}

// Skip records a check that was not made and why. It is no failure.
func (r *Report) Skip(name, reason string) {
	r.Checks = append(r.Checks, Check{Name: name, Skip: true, Reason: reason})
}

// Note records a check by its error: nil is a pass. It returns whether the
// check held.
func (r *Report) Note(name string, err error) bool {
	if err != nil {
		r.Fail(name, err)
		return false
	}
	r.Pass(name, "")
	return true
}

// Add appends the checks of another report.
func (r *Report) Add(other Report) { r.Checks = append(r.Checks, other.Checks...) }

// OK reports that at least one check was made and that none failed.
func (r *Report) OK() bool {
	made := false
	for _, c := range r.Checks {
		if !c.OK && !c.Skip {
			return false
		}
		made = made || c.OK
	}
	return made
}

// Held reports that the named check was made and held.
func (r *Report) Held(name string) bool {
	for _, c := range r.Checks {
		if c.Name == name {
			return c.OK
		}
	}
	return false
}

// Failed lists the checks that did not hold.
func (r *Report) Failed() []Check {
	var out []Check
	for _, c := range r.Checks {
		if !c.OK && !c.Skip {
			out = append(out, c)
		}
	}
	return out
}

// ErrNothingChecked is the error of a report without a single check made.
var ErrNothingChecked = errors.New("no check was made")

// Err is nil when OK is true; otherwise a *FailedError, or ErrNothingChecked.
func (r *Report) Err() error {
	if r.OK() {
		return nil
	}
	if failed := r.Failed(); len(failed) > 0 {
		return &FailedError{Checks: failed}
	}
	return ErrNothingChecked
}

// String is the report, a line a check.
func (r *Report) String() string {
	var b strings.Builder
	for _, c := range r.Checks {
		b.WriteString(c.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// FailedError carries the checks of a report that did not hold. errors.Is and
// errors.As look into each one's cause.
type FailedError struct{ Checks []Check }

func (e *FailedError) Error() string {
	parts := make([]string, len(e.Checks))
	for i, c := range e.Checks {
		parts[i] = c.Name + ": " + c.Reason
	}
	return strings.Join(parts, "; ")
}

// Unwrap gives the causes.
func (e *FailedError) Unwrap() []error {
	out := make([]error, 0, len(e.Checks))
	for _, c := range e.Checks {
		if c.Err != nil {
			out = append(out, c.Err)
		}
	}
	return out
}
