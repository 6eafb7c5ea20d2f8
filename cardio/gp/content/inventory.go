package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// Inventory is what a card's registry lists.
type Inventory struct {
	ISD          gp.RegistryEntry   // its life cycle state is the card's
	Domains      []gp.RegistryEntry // supplementary security domains
	Applications []gp.RegistryEntry
	LoadFiles    []gp.RegistryEntry // with their modules, where the card lists them
	Keys         []gp.KeyInformation
	// Resources are what is left, where the card says.
	Resources *gp.CardResources
	// Notes say what the card would not tell, and why.
	Notes []string
}

func (inv *Inventory) note(format string, args ...any) {
	inv.Notes = append(inv.Notes, fmt.Sprintf(format, args...))
}

// Read lists what is on a card. send goes through an open secure channel of
// the issuer security domain. A card that will not list one kind, or lists
// without data objects only, is taken as it is; one that does not answer is
// not.
func Read(ctx context.Context, send gp.Sender) (*Inventory, error) {
	inv := &Inventory{}
	isd, err := inv.list(ctx, send, gp.ListISD)
	if err != nil {
		return nil, err
	}
	if len(isd) != 1 {
		return nil, fmt.Errorf("%w: GET STATUS lists %d issuer security domains", gp.ErrMalformed, len(isd))
	}
	inv.ISD = isd[0]
	applications, err := inv.list(ctx, send, gp.ListApplications)
	if err != nil {
		return nil, err
	}
	for _, e := range applications {
		if IsDomain(e) {
			inv.Domains = append(inv.Domains, e)
		} else {
			inv.Applications = append(inv.Applications, e)
		}
	}
	if inv.LoadFiles, err = inv.loadFiles(ctx, send); err != nil {
		return nil, err
	}
	if inv.Keys, err = gp.ReadKeyInformation(ctx, send); err != nil {
		if !answered(err) {
			return nil, err
		}
		inv.note("the card does not list its keys: %v", err)
	}
	resources, err := gp.ReadCardResources(ctx, send)
	switch {
	case err == nil:
		inv.Resources = &resources
	case !answered(err):
		return nil, err
	}
	return inv, nil
}

// loadFiles lists them with their modules, or without where the card has no
// such list.
func (inv *Inventory) loadFiles(ctx context.Context, send gp.Sender) ([]gp.RegistryEntry, error) {
	files, err := inv.list(ctx, send, gp.ListLoadFilesAndModules)
	if err == nil || !answered(err) {
		return files, err
	}
	inv.note("the card does not list modules: %v", err)
	return inv.list(ctx, send, gp.ListLoadFiles)
}

// list falls back to the older format where the card refuses the newer one.
func (inv *Inventory) list(ctx context.Context, send gp.Sender, what byte) ([]gp.RegistryEntry, error) {
	entries, err := gp.GetStatus(ctx, send, what)
	if err == nil || !errors.Is(err, apdu.SWIncorrectP1P2) && !errors.Is(err, apdu.SWWrongData) {
		return entries, err
	}
	plain, perr := gp.GetStatusPlain(ctx, send, what)
	if perr != nil {
		return nil, err
	}
	return plain, nil
}

// answered reports whether an error is the card's answer: its status word, or
// data that is not laid out as it should be.
func answered(err error) bool {
	var sw apdu.StatusWord
	return errors.As(err, &sw) || errors.Is(err, gp.ErrMalformed)
}

// IsDomain reports whether an entry is a security domain.
func IsDomain(e gp.RegistryEntry) bool {
	return len(e.Privileges) > 0 && e.Privileges[0]&0x80 != 0
}

// application finds an application or supplementary security domain.
func (inv *Inventory) application(aid []byte) (e gp.RegistryEntry, ok bool) {
	if e, ok = find(inv.Applications, aid); ok {
		return e, true
	}
	return find(inv.Domains, aid)
}

func find(entries []gp.RegistryEntry, aid []byte) (gp.RegistryEntry, bool) {
	for _, e := range entries {
		if bytes.Equal(e.AID, aid) {
			return e, true
		}
	}
	return gp.RegistryEntry{}, false
}

// taken reports whether anything on the card has the AID.
func (inv *Inventory) taken(aid []byte) bool {
	if bytes.Equal(aid, inv.ISD.AID) {
		return true
	}
	if _, ok := inv.application(aid); ok {
		return true
	}
	_, ok := find(inv.LoadFiles, aid)
	return ok
}
