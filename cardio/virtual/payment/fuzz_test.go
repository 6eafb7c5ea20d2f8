package payment

import (
	"bytes"
	"testing"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/nvm"
)

// FuzzProcess sends commands, each with its length in front, to an issued card:
// every answer has a status word, and no secret is in it.
func FuzzProcess(f *testing.F) {
	for _, s := range []string{
		"0580A8000002", "0780A80000028300 0500B2010C00", "0780A80000028300 0580CA9F3600", "0780A80000028300 0D002000800824123 4FFFFFFFFFF",
		"0780A80000028300 2280AE80001D000000000001000000000000036400000000000364261125 00DEADBEEF", "05841E000008", "0984240002041122334 4",
		"0B84E2000006010103700101", "0D8050000008686F737463686100",
	} {
		f.Add(unhex(f, string(bytes.ReplaceAll([]byte(s), []byte(" "), nil))))
	}
	source := issuedMemory(f, sample(f, cciDES, 0))
	mem := issuedMemory(f, sample(f, cciDES, 0))
	r, chip := insert(f, mem, nil)
	secrets := [][]byte{unhex(f, masters)[:16], unhex(f, masters)[16:32], unhex(f, "241234FFFFFFFFFF"), of(sample(f, cciDES, 0), 0x8205)[:16]}
	f.Fuzz(func(t *testing.T, script []byte) {
		copyApplication(source, mem) // the counters of the run before are gone
		chip.Reset()
		r.TB = t
		r.send(0, 0xA4, 4, 0, unhex(t, AID))
		for len(script) > 0 {
			n := min(int(script[0]), len(script)-1)
			answer, err := chip.Transmit(t.Context(), script[1:1+n])
			if err != nil || len(answer) < 2 || apdu.StatusWord(answer[len(answer)-2])<<8|apdu.StatusWord(answer[len(answer)-1]) == apdu.SWNoPreciseDiagnosis {
				t.Fatalf("%X: %X %v", script[1:1+n], answer, err)
			}
			for _, s := range secrets {
				if bytes.Contains(answer, s) {
					t.Fatal("a secret came out")
				}
			}
			script = script[1+n:]
		}
	})
}

// FuzzStoreData gives a stream of groupings in blocks of any size: nothing but a
// whole card is ever completed.
func FuzzStoreData(f *testing.F) {
	f.Add([]byte{1, 1, 4, 0x70, 2, 0x57, 0, 0x7F, 0xFF, 0}, byte(200), false)
	f.Add([]byte{0x80, 1, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0x80, 0x10, 8, 1, 2, 3, 4, 5, 6, 7, 8}, byte(3), true)
	f.Add([]byte{1, 2, 0xFF, 0, 4, 0x70, 2, 1, 0}, byte(1), false)
	f.Add(append([]byte{0x81, 5, 32}, make([]byte, 32)...), byte(20), true)
	f.Fuzz(func(t *testing.T, b []byte, size byte, enciphered bool) {
		a, e := New(), &bench{mem: nvm.InMemory(), life: 0x07}
		p1 := byte(0)
		if enciphered {
			p1 = p1Enciphered
		}
		for p2 := 0; p2 < 256 && len(b) > 0; p2++ {
			n := min(len(b), 1+int(size))
			if n == len(b) {
				p1 |= p1Last
			}
			if _, sw := a.StoreData(e, p1, byte(p2), b[:n]); !sw.OK() {
				break
			}
			b = b[n:]
		}
		if e.life == LifeCyclePersonalized && !whole(memory{e.Memory(), false}) {
			t.Fatal("completed without content")
		}
	})
}

// FuzzDataObjectList: a list of any bytes asks for what it asks for.
func FuzzDataObjectList(f *testing.F) {
	f.Add(unhex(f, cdol1), values(""))
	f.Add([]byte{0x9F}, []byte{})
	f.Fuzz(func(t *testing.T, dol, data []byte) {
		if v := fromDOL(dol, data, 0x9F37); len(v) > len(data) || dolLength(dol) < 0 {
			t.Fatal("more than there is")
		}
	})
}

// bench is an environment without a chip; its data encryption key changes nothing.
type bench struct {
	virtual.Env
	mem  *nvm.Memory
	life byte
}

func (b *bench) Memory() nvm.Space                       { return b.mem.Space("app") }
func (b *bench) LifeCycle() byte                         { return b.life }
func (b *bench) SetLifeCycle(s byte) error               { b.life = s; return nil }
func (b *bench) DecipherDEK(data []byte) ([]byte, error) { return data, nil }
