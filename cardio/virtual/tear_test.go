package virtual

import (
	"maps"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// TestTearDuringLoad cuts the power before and after each APDU of a loading:
// afterwards the load file is there whole, which only the last block does, or
// not at all, and loading again works.
func TestTearDuringLoad(t *testing.T) {
	cap := testCAP(700)
	commands := append([]apdu.Command{forLoad(packageAID, nil, blockHash(20, cap), nil, nil)}, loads(tlv.Encode(0xC4, cap), 100)...)
	for at := range commands {
		for _, fault := range []Fault{TearBefore, TearAfter} {
			h, c := newHost(t, 16)
			h.open(0x03)
			before, free := contents(c.mem), h.free()
			for _, command := range commands[:at] {
				h.must(apdu.SWSuccess, command)
			}
			faulty := &Faulty{Chip: c, At: 1, Fault: fault}
			if _, err := faulty.Transmit(t.Context(), h.wrap(commands[at])); err == nil {
				t.Fatal("no tear")
			}
			h.card = on(t, c.mem, nil)
			h.open(0x03)
			if whole := at == len(commands)-1 && fault == TearAfter; whole {
				if h.list(0x20)[aidKey(packageAID)] == nil || h.free() != free-uint32(len(cap)) {
					t.Error("what was committed is not there")
				}
				h.must(apdu.SWSuccess, cmd(insDelete, 0, 0, tlv.Encode(0x4F, packageAID)...))
			}
			if !maps.Equal(contents(c.mem), before) || h.free() != free || h.list(0x20)[aidKey(packageAID)] != nil {
				t.Errorf("APDU %d, fault %d: something of the load file stayed", at, fault)
			}
			h.must(apdu.SWConditionsOfUseNotSatisfied, commands[1])
			for _, command := range commands {
				h.must(apdu.SWSuccess, command)
			}
		}
	}
}

// TestTearDuringManagement cuts the power around each command that changes the
// card's content: it has happened or it has not.
func TestTearDuringManagement(t *testing.T) {
	steps := []apdu.Command{
		forInstall(installForInstall, packageAID, moduleAID, appAID, []byte{0}, []byte{0xC9, 0}),
		cmd(insInstall, installMakeSelectable, 0, lv(nil, nil, appAID, []byte{0}, nil, nil)...),
		forInstall(installBoth, mustHex(SecurityDomainLoadFileAID), mustHex(SecurityDomainModuleAID), domainAID, []byte{0x80}, nil),
		cmd(insInstall, installExtradition, 0, lv(domainAID, nil, appAID, nil, nil, nil)...),
		cmd(insSetStatus, 0x60, 0x80, domainAID...),
		cmd(insInstall, installRegistryUpdate, 0, lv(nil, nil, appAID, []byte{0x10}, nil, nil)...),
		cmd(insDelete, 0, 0x80, tlv.Encode(0x4F, packageAID)...),
		cmd(insDelete, 0, 0, tlv.Encode(0x4F, domainAID)...),
	}
	reference, c := newHost(t, 16)
	reference.open(0x01)
	reference.loadAll(testCAP(10))
	states := []map[string]string{contents(c.mem)}
	for _, s := range steps {
		reference.must(apdu.SWSuccess, s)
		states = append(states, contents(c.mem))
	}
	for at, step := range steps {
		for _, fault := range []Fault{TearBefore, TearAfter, Silence} {
			h, c := newHost(t, 16)
			h.open(0x01)
			h.loadAll(testCAP(10))
			for _, s := range steps[:at] {
				h.must(apdu.SWSuccess, s)
			}
			faulty := &Faulty{Chip: c, At: 1, Fault: fault}
			_, _ = faulty.Transmit(t.Context(), h.wrap(step))
			h.card = on(t, c.mem, nil)
			want := states[at+1]
			if fault == TearBefore {
				want = states[at]
			}
			if !maps.Equal(contents(c.mem), want) {
				t.Errorf("step %d, fault %d: neither before nor after", at, fault)
			}
			h.open(0x01)
			if fault == TearBefore {
				h.must(apdu.SWSuccess, step)
			}
			for _, s := range steps[at+1:] {
				h.must(apdu.SWSuccess, s)
			}
			if !maps.Equal(contents(c.mem), states[len(steps)]) {
				t.Errorf("step %d, fault %d: the end is another", at, fault)
			}
		}
	}
}
