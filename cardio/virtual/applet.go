package virtual

import (
	"io"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/virtual/nvm"
)

// Applet is one application on the card. One value serves one power-up of
// the chip: its fields are the chip's RAM and are gone after a reset, when a
// factory makes a new value. What must last is written to Env.Memory.
//
// Every method is called with the chip's lock held, never concurrently. A
// returned status word other than 9000 may carry data too. What is written to
// Env.Memory during one call commits when the call returns, whatever its
// status word (a try counter must count), and is undone if it panics.
type Applet interface {
	// Select is called when the application is selected: with the SELECT
	// command that named its AID, or with the zero Command when the chip
	// selects it by itself after a reset (Card Reset privilege). It returns
	// the answer to SELECT. Any status word that is neither 9000 nor 62xx or
	// 63xx refuses the selection, and the issuer security domain is selected
	// instead.
	Select(e Env, cmd apdu.Command) (data []byte, sw apdu.StatusWord)
	// Deselect is called when another application is selected. After a reset
	// it is not called: a power cut gives no notice.
	Deselect(e Env)
	// Process gets every command while the application is selected, the
	// class byte as received (secure messaging and chaining bits included),
	// but rewritten to the basic logical channel, and but for what the chip itself answers: SELECT by DF name, when the name
	// is that of an application on the card. Response data longer than the
	// command's Ne is the applet's matter. Here Env is a SecureChannel too.
	Process(e Env, cmd apdu.Command) (data []byte, sw apdu.StatusWord)
	// StoreData gets the personalization data that the security domain
	// received after INSTALL [for personalization], already unwrapped from
	// the secure channel: P1 and P2 as received, data of at most 255 bytes
	// (65,535 in extended length). Block order is already checked: p2 starts
	// at 00 and p1 b8 marks the last block (GPC_SPE_034 v2.3.1 section
	// 11.11). Every INSTALL [for personalization] begins a new sequence at
	// p2 = 00.
	StoreData(e Env, p1, p2 byte, data []byte) (out []byte, sw apdu.StatusWord)
}

// Env is what the chip gives to an applet during a call. It is valid only
// inside that call.
type Env interface {
	// AID is the application's own.
	AID() []byte
	// Memory is the applet's own part of the chip's persistent memory.
	Memory() nvm.Space
	// Random is the chip's random number generator.
	Random() io.Reader
	// DecipherDEK deciphers data under the data encryption key of the
	// personalizing secure channel. SCP03: the static key of the set that it
	// was opened with, AES-CBC, zero IV, length a positive multiple of 16
	// bytes (GPC_SPE_014, Amendment D 1.1.2 section 6.2.7). SCP02: the
	// session key, 3DES-ECB, length a positive multiple of 8 bytes
	// (GPC_SPE_034 v2.3.1 section E.4.7). The padding stays. It fails
	// on any other length, and outside StoreData unless the application has a
	// channel of its own open (see SecureChannel).
	DecipherDEK(data []byte) ([]byte, error)
	// LifeCycle is the application's life cycle state as GET STATUS shows it
	// (GPC_SPE_034 v2.3.1 table 11-4): 07 selectable, 0F, 1F … 7F of the
	// application's own.
	LifeCycle() byte
	// SetLifeCycle changes it; states of the application's own have bits
	// 111 at the low end and the top bit clear. It fails on any other value.
	SetLifeCycle(state byte) error
}
