package virtual

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"slices"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/tlv"
)

// loading is a load file on its way, one a logical channel: it lives in RAM
// and becomes part of the card in the commit of its last LOAD. A power cut
// before that leaves nothing of it and takes no memory.
type loading struct {
	aid     []byte
	domain  *application // it will be associated with
	hash    []byte       // of the load file data block; empty when none was given
	confirm bool         // a receipt is due
	data    []byte       // so far
	total   int          // bytes to come in all; 0 until the head is there
	next    int          // block number expected
}

// maxDAPBytes bounds what may stand before the load file data block.
const maxDAPBytes = 4096

// hashes by their length (GPC_SPE_034 v2.3.1 appendix B.4).
func blockHash(length int, block []byte) []byte {
	switch length {
	case sha1.Size:
		h := sha1.Sum(block)
		return h[:]
	case sha256.Size:
		h := sha256.Sum256(block)
		return h[:]
	case sha512.Size384:
		h := sha512.Sum384(block)
		return h[:]
	case sha512.Size:
		h := sha512.Sum512(block)
		return h[:]
	}
	return nil
}

// installForLoad is INSTALL [for load] (GPC_SPE_034 v2.3.1 sections 9.3.5 and
// 11.5.2.3.1). The hash may be left away where neither token nor DAP block
// needs it.
func (c *Chip) installForLoad(i installation, confirm bool) ([]byte, apdu.StatusWord) {
	p, ok := parseParameters(i.parameters, loadParameters)
	if !ok || !validAID(i.first) || len(i.second) != 0 && !validAID(i.second) || len(i.hash) != 0 && blockHash(len(i.hash), nil) == nil {
		return nil, apdu.SWWrongData
	}
	domain := c.selected
	if len(i.second) != 0 {
		var sw apdu.StatusWord
		if domain, sw = c.receiver(i.second); !sw.OK() {
			return nil, sw
		}
	}
	if !c.manages(domain) || c.reg.taken(i.first) {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	if len(i.hash) == 0 && (len(i.token) != 0 || len(c.dapRequired(domain)) > 0) {
		return nil, apdu.SWWrongData
	}
	nonVolatile, volatile := c.reg.free()
	if len(c.reg.loadFiles) >= maxLoadFiles || uint64(p.code)+uint64(p.nonVolatile) > uint64(nonVolatile) || p.volatile > volatile {
		return nil, apdu.SWNotEnoughMemory
	}
	c.loading = &loading{aid: slices.Clone(i.first), domain: domain, hash: slices.Clone(i.hash), confirm: confirm}
	return c.confirmation(false)
}

// load is LOAD (section 11.6). Whatever is refused ends the process: a block
// out of its turn 6A86, a length that is not what the load file says 6A80, no
// memory 6A84.
func (c *Chip) load(cmd apdu.Command) ([]byte, apdu.StatusWord) {
	l := c.loading
	c.loading = nil
	if l == nil {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	if cmd.P1&0x7F != 0 || int(cmd.P2) != l.next {
		return nil, apdu.SWIncorrectP1P2
	}
	l.data = append(l.data, cmd.Data...)
	l.next++
	if sw := c.measure(l); !sw.OK() {
		return nil, sw
	}
	if len(cmd.Data) == 0 || l.total != 0 && len(l.data) > l.total {
		return nil, apdu.SWWrongData
	}
	if cmd.P1 == 0 {
		c.loading = l
		return nil, apdu.SWSuccess
	}
	if len(l.data) != l.total {
		return nil, apdu.SWWrongData
	}
	return c.finishLoading(l)
}

// measure finds out how long the load file is, as soon as the head of the load
// file data block is there.
func (c *Chip) measure(l *loading) apdu.StatusWord {
	for at := 0; l.total == 0 && at < len(l.data); {
		tag, n, size, err := tlv.Header(l.data[at:])
		if err != nil {
			if len(l.data)-at < 6 {
				return apdu.SWSuccess // the rest of it comes with the next block
			}
			return apdu.SWWrongData
		}
		switch {
		case tag == 0xC4 && n > 0:
			free, _ := c.reg.free()
			if uint64(n) > uint64(free) {
				return apdu.SWNotEnoughMemory
			}
			l.total = at + size + n
		case tag == 0xE2 && at+size+n <= maxDAPBytes:
			at += size + n
		default:
			return apdu.SWWrongData
		}
	}
	return apdu.SWSuccess
}

// finishLoading verifies a whole load file and puts it into the registry
// (sections 9.2.1 and 9.3.5): the hash (6A80), the DAP blocks (6982), then
// that it is a CAP file of the announced AID (6A80) that this card can link
// (6985).
func (c *Chip) finishLoading(l *loading) ([]byte, apdu.StatusWord) {
	objects, err := tlv.Parse(l.data)
	if err != nil {
		return nil, apdu.SWWrongData
	}
	block := objects[len(objects)-1].Value
	if len(l.hash) != 0 && !bytes.Equal(blockHash(len(l.hash), block), l.hash) {
		return nil, apdu.SWWrongData
	}
	if sw := c.verifyDAP(objects[:len(objects)-1], l); !sw.OK() {
		return nil, sw
	}
	f, err := parseCAP(bytes.Clone(block))
	if err != nil || !bytes.Equal(f.aid, l.aid) {
		return nil, apdu.SWWrongData
	}
	file := LoadFile{AID: l.aid, Version: [2]byte{f.major, f.minor}, Modules: f.applets,
		loadFileExtra: loadFileExtra{domain: association(l.domain), loaded: true, size: uint32(len(block))}}
	for _, i := range f.imports {
		if !c.reg.offersPackage(i) {
			return nil, apdu.SWConditionsOfUseNotSatisfied
		}
		file.imports = append(file.imports, i.AID)
	}
	for _, m := range f.applets {
		if slices.ContainsFunc(c.reg.loadFiles, func(o LoadFile) bool {
			return slices.ContainsFunc(o.Modules, func(e []byte) bool { return bytes.Equal(e, m) })
		}) {
			return nil, apdu.SWConditionsOfUseNotSatisfied
		}
	}
	// Another logical channel may have changed the registry meanwhile.
	if c.reg.taken(l.aid) || !l.domain.usable() {
		return nil, apdu.SWConditionsOfUseNotSatisfied
	}
	if free, _ := c.reg.free(); file.size > free || len(c.reg.loadFiles) >= maxLoadFiles {
		return nil, apdu.SWNotEnoughMemory
	}
	c.reg.addLoadFile(file)
	return c.confirmation(l.confirm, l.aid, c.reg.aidOf(l.domain))
}

// offersPackage says whether the card, or what was loaded, has a package in a
// version that serves an import.
func (r *registry) offersPackage(want Package) bool {
	have := slices.Clone(r.packages)
	for _, f := range r.loadFiles {
		if f.loaded {
			have = append(have, Package{AID: f.AID, Major: f.Version[0], Minor: f.Version[1]})
		}
	}
	return slices.ContainsFunc(have, func(p Package) bool {
		return bytes.Equal(p.AID, want.AID) && p.Major == want.Major && p.Minor >= want.Minor
	})
}

// addLoadFile puts a load file where it stands after the next power-up: by
// AID, before that of security domains.
func (r *registry) addLoadFile(f LoadFile) {
	at := slices.IndexFunc(r.loadFiles, func(o LoadFile) bool {
		return aidKey(o.AID) > aidKey(f.AID) || aidKey(o.AID) == SecurityDomainLoadFileAID
	})
	r.loadFiles = slices.Insert(r.loadFiles, at, f)
	r.putLoadFile(f)
}
