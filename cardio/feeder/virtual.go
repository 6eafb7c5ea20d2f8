package feeder

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Virtual feeds from a rack of virtual cards (cardio/virtual/rack) over its
// control socket.
type Virtual struct {
	// Control is the path of the rack's unix socket.
	Control string
	// Slot counts the rack's readers from 0.
	Slot int
	// Presence and Reader, where given, make Next and Out wait until PC/SC has
	// noticed, too. Its daemon looks every 0.4 seconds.
	Presence Presence
	Reader   string
}

type rackRequest struct {
	Op   string `json:"op"`
	Slot int    `json:"slot"`
	Bin  Bin    `json:"bin,omitempty"`
}

type rackReply struct {
	OK    bool   `json:"ok"`
	Empty bool   `json:"empty"`
	Error string `json:"error"`
	Slots []struct {
		Slot int    `json:"slot"`
		Card string `json:"card"`
	} `json:"slots"`
}

// Next has the rack insert its next blank. A card that is in the slot already
// (a line that was killed left it there) is taken as the one, as Hand does.
func (v *Virtual) Next(ctx context.Context) error {
	reply, err := v.call(ctx, rackRequest{Op: "next", Slot: v.Slot})
	if err != nil {
		return err
	}
	if reply.Empty {
		return io.EOF
	}
	if !reply.OK {
		if occupied, err := v.occupied(ctx); err != nil || !occupied {
			return errors.Join(v.refused(reply), err)
		}
	}
	return v.wait(ctx)
}

// wait waits until PC/SC has noticed the card.
func (v *Virtual) wait(ctx context.Context) error {
	if v.Presence == nil {
		return nil
	}
	_, err := v.Presence.WaitCard(ctx, v.Reader)
	return err
}

// occupied reports whether the slot holds a card.
func (v *Virtual) occupied(ctx context.Context) (bool, error) {
	reply, err := v.call(ctx, rackRequest{Op: "status", Slot: v.Slot})
	if err != nil {
		return false, err
	}
	if !reply.OK {
		return false, v.refused(reply)
	}
	for _, s := range reply.Slots {
		if s.Slot == v.Slot {
			return s.Card != "", nil
		}
	}
	return false, nil
}

// Out has the rack take the card out into a bin. A slot that is empty already
// is as it should be.
func (v *Virtual) Out(ctx context.Context, bin Bin) error {
	if err := bin.check(); err != nil {
		return err
	}
	reply, err := v.call(ctx, rackRequest{Op: "out", Slot: v.Slot, Bin: bin})
	if err != nil {
		return err
	}
	if !reply.OK {
		// A card that somebody has pulled out is out.
		if occupied, err := v.occupied(ctx); err != nil || occupied {
			return errors.Join(v.refused(reply), err)
		}
	}
	if v.Presence == nil {
		return nil
	}
	return v.Presence.WaitRemoved(ctx, v.Reader)
}

func (v *Virtual) refused(reply rackReply) error {
	if reply.Error == "" {
		reply.Error = "it gives no reason"
	}
	return fmt.Errorf("the rack of virtual cards refused for slot %d: %s", v.Slot, reply.Error)
}

// maxReply bounds a line of the rack.
const maxReply = 1 << 16

// call sends one request line and reads one reply line.
func (v *Virtual) call(ctx context.Context, q rackRequest) (rackReply, error) {
	var reply rackReply
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", v.Control)
	if err != nil {
		return reply, fmt.Errorf("reach the rack of virtual cards: %w", err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	b, err := json.Marshal(q)
	if err == nil {
		_, err = conn.Write(append(b, '\n'))
	}
	if err == nil {
		b, err = bufio.NewReader(io.LimitReader(conn, maxReply)).ReadBytes('\n')
	}
	if err == nil {
		err = json.Unmarshal(b, &reply)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		} else if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // not to be taken for the end of the blanks
		}
		return rackReply{}, fmt.Errorf("ask the rack of virtual cards to %s: %w", q.Op, err)
	}
	return reply, nil
}
