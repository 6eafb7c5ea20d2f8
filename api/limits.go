package api

import (
	"time"

	"cardbureau/personalization/record"
)

// Limits bound what one client, and all clients together, can take of the
// server. Zero values are replaced by the defaults named here.
type Limits struct {
	MaxLine       int           // bytes of a record as it travels; record.MaxLine
	HeaderTimeout time.Duration // until a request's header is complete; 10 s
	ReadTimeout   time.Duration // until a request with one record is complete; 30 s
	LineTime      time.Duration // that a stream's client may take for a line, or for MaxLine bytes of one; 30 s
	StallTime     time.Duration // after which a stream is given up when nothing moves inside the bureau; 2 min
	WriteTimeout  time.Duration // until a client has taken an answer, or a line of one; 60 s
	IdleTimeout   time.Duration // between requests of a connection; 2 min
	Requests      int           // at work at one time, streams included; 64
	Batches       int           // streams at one time, each with up to 40 records in memory; 4
}

func (l Limits) withDefaults() Limits {
	orElse(&l.MaxLine, record.MaxLine)
	orElse(&l.HeaderTimeout, 10*time.Second)
	orElse(&l.ReadTimeout, 30*time.Second)
	orElse(&l.LineTime, 30*time.Second)
	orElse(&l.StallTime, 2*time.Minute)
	orElse(&l.WriteTimeout, time.Minute)
	orElse(&l.IdleTimeout, 2*time.Minute)
	orElse(&l.Requests, 64)
	orElse(&l.Batches, 4)
	return l
}

func orElse[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// maxHeader is the greatest header of a request in bytes (net/http adds 4 KiB).
const maxHeader = 12 << 10
