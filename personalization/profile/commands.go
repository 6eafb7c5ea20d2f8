package profile

import (
	"context"
	"fmt"
	"strings"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/gp"
)

// commands turns a step into the commands it sends.
func (r *Run) commands(ctx context.Context, ch Channel, st *Step) ([]planned, error) {
	var out []planned
	add := func(expect apdu.StatusWord, cmds ...apdu.Command) {
		for _, c := range cmds {
			out = append(out, planned{step: st, cmd: c, expect: expect})
		}
	}
	switch {
	case st.Install != nil:
		add(apdu.SWSuccess, gp.InstallForPersonalizationCommand(r.Applet.AID))
	case st.Store != nil:
		dgis, err := r.dgis(ctx, ch, st.Store)
		if err != nil {
			return nil, err
		}
		cmds, err := gp.StoreData(dgis, r.storeOptions(st.Store.Enciphered))
		if err != nil {
			return nil, err
		}
		add(apdu.SWSuccess, cmds...)
	case st.PutKey != nil:
		cmd, check, err := ch.PutKey(ctx, r.Chip.Keys[st.PutKey.Replace], r.Chip.Keys[st.PutKey.With])
		if err != nil {
			return nil, err
		}
		out = append(out, planned{step: st, cmd: cmd, expect: apdu.SWSuccess, check: check})
	case st.SetStatus != nil:
		add(apdu.SWSuccess, gp.SetCardStatusCommand(cardStates[st.SetStatus.Card]))
	case st.Refused != nil:
		sw := apdu.StatusWord(st.Refused.Status[0])<<8 | apdu.StatusWord(st.Refused.Status[1])
		cmds, err := gp.StoreData([]gp.DGI{{ID: dgiNumber(st.Refused.DGI)}}, r.storeOptions(false))
		if err != nil {
			return nil, err
		}
		add(sw, cmds...)
	}
	return out, nil
}

func (r *Run) storeOptions(enciphered bool) gp.StoreDataOptions {
	level := gp.Level(r.Chip.GlobalPlatform.Level[0])
	extended := r.Chip.Limits.CommandData > apdu.MaxShortData
	return gp.StoreDataOptions{Enciphered: enciphered, MaxData: gp.MaxPlainData(r.Chip.mode(), level, extended)}
}

func dgiNumber(b Hex) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

func (r *Run) dgis(ctx context.Context, ch Channel, s *Store) ([]gp.DGI, error) {
	var secrets map[string][]byte
	if s.Enciphered {
		var names []string
		for _, d := range s.DGIs {
			names = append(names, strings.TrimPrefix(d.Value, "secret."))
		}
		var err error
		if secrets, err = ch.EncipherSecrets(ctx, names); err != nil {
			return nil, err
		}
	}
	out := make([]gp.DGI, 0, len(s.DGIs))
	for _, d := range s.DGIs {
		g := gp.DGI{ID: dgiNumber(d.DGI)}
		switch {
		case d.Value == "":
		case s.Enciphered:
			g.Value = secrets[strings.TrimPrefix(d.Value, "secret.")]
		default:
			v, err := r.Element(strings.TrimPrefix(d.Value, "file."))
			if err != nil {
				return nil, err
			}
			if len(v) > r.Chip.Limits.FileSize {
				return nil, fmt.Errorf("element %s has %d bytes, a file of chip %s takes %d", d.Value, len(v), r.Chip.Name, r.Chip.Limits.FileSize)
			}
			g.Value = v
		}
		out = append(out, g)
	}
	return out, nil
}
