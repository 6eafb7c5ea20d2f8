package emv

import (
	"fmt"
	"strings"
)

// Outcome is what became of a check.
type Outcome string

// Outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	NotDone Outcome = "not done"
)

// Check is one thing that the terminal looked at.
type Check struct {
	Name    string  `json:"name"`
	Outcome Outcome `json:"outcome"`
	Detail  string  `json:"detail,omitempty"` // never a value of the card's data
}

// Names of checks, in the order in which a transaction makes them.
const (
	CheckSelection    = "selection"
	CheckRecords      = "records"
	CheckSDA          = "SDA"
	CheckDDA          = "DDA"
	CheckCDA          = "CDA"
	CheckXDA          = "XDA"
	CheckVersion      = "version"
	CheckUsage        = "usage"
	CheckDates        = "dates"
	CheckHolder       = "cardholder verification"
	CheckFloorLimit   = "floor limit"
	CheckRandom       = "random selection"
	CheckVelocity     = "velocity"
	CheckAnalysis     = "terminal action analysis"
	CheckFirst        = "first cryptogram"
	CheckOnline       = "online authorization"
	CheckIssuer       = "issuer authentication"
	CheckScriptBefore = "scripts before"
	CheckSecond       = "second cryptogram"
	CheckScriptAfter  = "scripts after"
)

// Result is what became of a transaction.
type Result struct {
	Application *Application // nil: none was selected
	Checks      []Check
	TVR         TVR
	TSI         TSI
	CVM         [3]byte // 9F34, CVM results
	First       Cryptogram
	Second      *Cryptogram // nil: there was none
	ARC         string      // authorization response code, the issuer's or the terminal's own
	Approved    bool
	Online      bool // the issuer answered
	Scripts     []ScriptResult
}

func (r *Result) note(name string, o Outcome, detail string, args ...any) {
	if len(args) > 0 {
		detail = fmt.Sprintf(detail, args...)
	}
	r.Checks = append(r.Checks, Check{name, o, detail})
}

// passed notes a check by its error.
func (r *Result) passed(name string, err error, detail string, args ...any) {
	if err != nil {
		r.note(name, Failed, "%s", err.Error())
		return
	}
	r.note(name, Passed, detail, args...)
}

// Check finds a check by its name, the last of that name.
func (r *Result) Check(name string) (c Check, ok bool) {
	for _, x := range r.Checks {
		if x.Name == name {
			c, ok = x, true
		}
	}
	return c, ok
}

// Failures lists the checks that failed.
func (r *Result) Failures() (out []Check) {
	for _, c := range r.Checks {
		if c.Outcome == Failed {
			out = append(out, c)
		}
	}
	return out
}

// String is one line: approved or not, TVR, TSI, what failed.
func (r *Result) String() string {
	word := "declined"
	if r.Approved {
		word = "approved"
	}
	where := "offline"
	if r.Online {
		where = "online"
	}
	var names []string
	for _, c := range r.Failures() {
		names = append(names, c.Name)
	}
	s := fmt.Sprintf("%s %s, TVR %v, TSI %v", word, where, r.TVR, r.TSI)
	if names != nil {
		s += ", failed: " + strings.Join(names, ", ")
	}
	return s
}
