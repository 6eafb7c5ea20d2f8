// Command keycardhost manages a card's content with Status' keycard-go, a
// GlobalPlatform host that no one here wrote: it opens an SCP02 channel under
// the test keys 40…4F and carries out the operations of its arguments in that
// one session. What is ours is the PC/SC connection and what is printed.
//
//	keycardhost READER OPERATION...
//
// Operations: card, list, load:FILE:AID, install:LOADFILE:MODULE:INSTANCE,
// lock:AID, unlock:AID, delete:AID (with what depends on it).
package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ebfe/scard"
	"github.com/status-im/keycard-go/apdu"
	"github.com/status-im/keycard-go/globalplatform"
	"github.com/status-im/keycard-go/io"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "keycardhost:", err)
		os.Exit(1)
	}
}

// connect waits for a card in the reader.
func connect(reader string) (*scard.Context, *scard.Card, error) {
	ctx, err := scard.EstablishContext()
	if err != nil {
		return nil, nil, err
	}
	for range 200 {
		card, err := ctx.Connect(reader, scard.ShareExclusive, scard.ProtocolAny)
		if err == nil {
			return ctx, card, nil
		}
		if !errors.Is(err, scard.ErrNoSmartcard) && !errors.Is(err, scard.ErrUnknownReader) && !errors.Is(err, scard.ErrUnresponsiveCard) {
			return nil, nil, err
		}
		// The reader's driver polls.
		state := []scard.ReaderState{{Reader: reader, CurrentState: scard.StateEmpty}}
		_ = ctx.GetStatusChange(state, 100*time.Millisecond)
	}
	return nil, nil, errors.New("no card came")
}

func run(reader string, operations []string) error {
	ctx, card, err := connect(reader)
	if err != nil {
		return err
	}
	defer func() { _ = ctx.Release() }()
	defer func() { _ = card.Disconnect(scard.ResetCard) }()
	cs := globalplatform.NewCommandSet(io.NewNormalChannel(card))
	if err := cs.Select(); err != nil {
		return fmt.Errorf("select: %w", err)
	}
	if err := cs.OpenSecureChannel(); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	for _, o := range operations {
		if err := do(cs, strings.Split(o, ":")); err != nil {
			return fmt.Errorf("%s: %w", o, err)
		}
	}
	return nil
}

func do(cs *globalplatform.CommandSet, f []string) error {
	var aids [][]byte
	for _, s := range f[1:] {
		if b, err := hex.DecodeString(s); err == nil {
			aids = append(aids, b)
		}
	}
	switch f[0] {
	case "card":
		status, err := cs.GetStatus()
		if err != nil {
			return err
		}
		fmt.Println("card", status.LifeCycle())
		return nil
	case "list":
		for _, scope := range []byte{globalplatform.P1GetStatusIssuerSecurityDomain,
			globalplatform.P1GetStatusApplications, globalplatform.P1GetStatusExecLoadFilesAndModules} {
			if err := list(cs, scope); err != nil {
				return err
			}
		}
		return nil
	case "load":
		file, err := os.Open(f[1])
		if err != nil {
			return err
		}
		defer file.Close()
		return cs.LoadPackage(file, aids[len(aids)-1], func(i, n int) { fmt.Println("block", i+1, n) })
	case "install":
		return cs.InstallForInstall(aids[0], aids[1], aids[2], nil)
	case "lock":
		return send(cs, apdu.NewCommand(0x80, 0xF0, 0x40, 0x80, aids[0]))
	case "unlock":
		return send(cs, apdu.NewCommand(0x80, 0xF0, 0x40, 0x00, aids[0]))
	case "delete":
		return cs.DeleteObjectAndRelatedObject(aids[0])
	}
	return errors.New("unknown operation")
}

func send(cs *globalplatform.CommandSet, c *apdu.Command) error {
	r, err := cs.SecureChannel().Send(c)
	if err == nil && r.Sw != apdu.SwOK {
		err = apdu.NewErrBadResponse(r.Sw, "unexpected response")
	}
	return err
}

// list prints a scope, AID and life cycle state of each entry, after it has put
// the answer and its continuations together.
func list(cs *globalplatform.CommandSet, scope byte) error {
	c := globalplatform.NewCommandGetStatus(nil, scope)
	var entries []byte
	for more := true; more; c.P2 |= 1 {
		r, err := cs.SecureChannel().Send(c)
		if err != nil {
			return err
		}
		switch r.Sw {
		case apdu.SwOK, 0x6310:
		case globalplatform.SwReferencedDataNotFound:
			return nil
		default:
			return apdu.NewErrBadResponse(r.Sw, "unexpected response")
		}
		entries = append(entries, r.Data...)
		more = r.Sw != apdu.SwOK
	}
	for i := 0; ; i++ {
		entry, err := apdu.FindTagN(entries, i, apdu.Tag{0xE3})
		var end *apdu.ErrTagNotFound
		if errors.As(err, &end) {
			return nil
		}
		if err != nil {
			return err
		}
		aid, err := apdu.FindTag(entry, apdu.Tag{0x4F})
		if err != nil {
			return err
		}
		state, err := apdu.FindTag(entry, apdu.Tag{0x9F, 0x70})
		if err != nil {
			return err
		}
		fmt.Printf("%02X %X %X\n", scope, aid, state)
	}
}
