package vault

import (
	"cardbureau/hsm/aka"
	"cardbureau/hsm/simkeys"
)

// Roles of the keys for SIMs.
const (
	RoleSIMStorage   = "sim-storage"   // subscribers' keys are wrapped under it, AES-256
	RoleSIMSession   = "sim-session"   // expected responses are sealed under it, AES-256
	RoleSIMTransport = "sim-transport" // an operator's or vendor's files come under it, AES-256; with "-des" 3DES of three parts

	// RoleSIMProgramming is a transport key for files of SIMs that the bureau programs,
	// and for nothing else; with "-des" 3DES. Forms that do not authenticate a file's
	// purpose come under it: a file of keys that must not leave cannot be made one of them.
	RoleSIMProgramming = "sim-programming"
)

// SIMScheme is how a subscriber's sequence numbers are made (TS 33.102 annex C).
// The zero value is that of most USIMs: IND of 5 bits, Δ of 2^28. Vectors are always
// made in the highest IND, so that those of the network, which keeps its own count,
// stay good: the network must not use it.
type SIMScheme struct {
	INDBits int    // 5 when zero
	Delta   uint64 // in units of SEQ; 2^28 when zero
}

// SIMKeys are a subscriber's, wrapped under the storage key: nothing but the agent
// reads them. They are bound to ICCID and batch.
type SIMKeys struct {
	Wrapped []byte
	ICCID   string
	Batch   string
}

// SIMKeyRow is one SIM of an operator's or vendor's file, as simkeys.Row.
type SIMKeyRow struct {
	ICCID  string
	Sealed []byte
	K, OPc []byte
	OTA    map[string][]byte // KIC1 and so on
	IV     []byte
}

// SIMKeysInRequest asks to take keys in from a file. It is one call for many
// rows, of which all are taken or none.
type SIMKeysInRequest struct {
	// TransportKey is "role/version", of the role sim-transport for AES forms, or
	// sim-transport-des; for files that are Delegated of sim-programming or
	// sim-programming-des, which only AES-GCM may do without.
	TransportKey string
	Form         simkeys.Form
	Batch        string
	// TUAK are the parameters of the file's algorithm; nil: it is MILENAGE.
	TUAK *aka.TUAKParameters
	// Delegated: the operator has the bureau program these SIMs. Only keys of such
	// files are ever given out, and only they may have OTA.
	Delegated bool
	Rows      []SIMKeyRow // 1 to 1000
}

// SIMProgramRequest asks for what a chip is programmed with.
type SIMProgramRequest struct {
	Keys SIMKeys
	// Chip is the ICCID that was read from the chip in the reader. Keys of another one
	// are not given out.
	Chip string
}

// SIMProgram is what a chip is programmed with.
type SIMProgram struct {
	K, OPc Secret              // MILENAGE: 16 bytes each; TUAK: 16 or 32, and TOPc, 32
	TUAK   *aka.TUAKParameters // nil: MILENAGE
	OTA    map[string]Secret   // by KIC1 and so on; none where the operator gave none
}

// Zero overwrites the keys.
func (p SIMProgram) Zero() {
	p.K.Zero()
	p.OPc.Zero()
	for _, k := range p.OTA {
		k.Zero()
	}
}

// SIMVectorRequest asks for a challenge to one SIM.
type SIMVectorRequest struct {
	Keys   SIMKeys
	Scheme SIMScheme
	// Last is the sequence number last used; the next one is used now. The caller
	// keeps the reply's SQN before the SIM sees AUTN.
	Last uint64
	AMF  [2]byte // 8000 for what 4G and later networks ask
	// RAND is 16 bytes, which the caller binds to its session.
	RAND []byte
	// Session is what the expected response is bound to: 1 to 64 bytes.
	Session []byte
}

// SIMVector is a challenge. RAND and AUTN go to the SIM; Expected comes back with
// its response.
type SIMVector struct {
	RAND, AUTN []byte // 16 bytes each
	SQN        uint64 // used up by this vector
	Expected   []byte // XRES, sealed under a key of the token
}

// SIMCheckRequest asks whether a response is the expected one.
type SIMCheckRequest struct {
	Expected []byte
	ICCID    string
	Session  []byte
	RES      []byte
}

// SIMResyncRequest asks what to make of an AUTS.
type SIMResyncRequest struct {
	Keys   SIMKeys
	Scheme SIMScheme
	Last   uint64
	RAND   []byte // of the challenge that the AUTS answers
	AUTS   []byte // 14 bytes
}
