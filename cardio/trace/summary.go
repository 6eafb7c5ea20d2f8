package trace

import (
	"cmp"
	"slices"
)

// Summary adds up a trace.
type Summary struct {
	Cards    int      `json:"cards"`
	Resets   int      `json:"resets"`
	APDUs    int      `json:"apdus"`
	Sent     int      `json:"sent"`     // bytes of command data
	Received int      `json:"received"` // bytes of answers, without status words
	Secured  int      `json:"secured"`  // commands inside secure messaging
	Failed   int      `json:"failed"`   // without an answer
	CardTime int64    `json:"cardTime"` // microseconds in exchanges
	Time     int64    `json:"time"`     // microseconds from the first event to the end of the last
	Commands []Tally  `json:"commands"`
	first    int64    // where the first event began
	tallies  []*Tally // Commands, while it grows
	index    map[string]*Tally
}

// Tally adds up the exchanges of one instruction, inside secure messaging by
// what is known of it.
type Tally struct {
	INS      string `json:"ins"` // 2 hexadecimal digits, or empty
	Name     string `json:"name,omitempty"`
	APDUs    int    `json:"apdus"`
	Sent     int    `json:"sent"`
	Received int    `json:"received"`
	Time     int64  `json:"time"` // microseconds
}

// Add takes the next event in.
func (s *Summary) Add(e Event) {
	if e.N == 1 {
		s.first = e.At
	}
	s.Time = max(s.Time, e.At+e.Took-s.first)
	switch e.Kind {
	case CardIn:
		s.Cards++
	case Reset:
		s.Resets++
	case Exchange:
		s.exchange(e)
	}
}

func (s *Summary) exchange(e Event) {
	s.APDUs++
	s.Sent += e.Lc
	s.Received += e.Length
	s.CardTime += e.Took
	if e.Secured {
		s.Secured++
	}
	if e.Error != "" {
		s.Failed++
	}
	c := e.Command
	if e.Inside != nil {
		c = e.Inside
	}
	ins := ""
	if len(c.Header) == 8 {
		ins = c.Header[2:4]
	}
	if s.index == nil {
		s.index = map[string]*Tally{}
	}
	t := s.index[ins+c.Name]
	if t == nil {
		t = &Tally{INS: ins, Name: c.Name}
		s.index[ins+c.Name] = t
		s.tallies = append(s.tallies, t)
	}
	t.APDUs++
	t.Sent += e.Lc
	t.Received += e.Length
	t.Time += e.Took
}

// Done sorts the commands, those that took longest first.
func (s *Summary) Done() {
	s.Commands = make([]Tally, 0, len(s.tallies))
	for _, t := range s.tallies {
		s.Commands = append(s.Commands, *t)
	}
	slices.SortStableFunc(s.Commands, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(b.APDUs, a.APDUs), cmp.Compare(a.INS, b.INS))
	})
}
