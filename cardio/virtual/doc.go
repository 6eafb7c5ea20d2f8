// Package virtual is a GlobalPlatform card in software: a chip with its
// security domains, secure channel, card content, life cycle and persistent
// memory, on which applets run. Bureaus rehearse lots and train staff on it; tests
// and benchmarks run on it. It is never put into production.
//
// It implements GlobalPlatform Card Specification 2.3.1 (GPC_SPE_034), as far
// as a personalization bureau meets it, with Secure Channel Protocol '03'
// (GPC_SPE_014, Amendment D 1.1.2) or '02' (appendix E), over T=1 or T=0, on
// up to five logical channels. It is strict: what a careful chip refuses, it
// refuses, with the status word of the standard. Where real chips differ, a
// blank can have a named Quirk.
//
// What the specification leaves to the card, this one does so:
//
//   - A load file is assembled in RAM and committed with its last LOAD; any
//     other command, a reset and an error end the process. A hash that does
//     not fit, and what is no CAP file, is 6A80; an import that the card does
//     not have 6985; a wrong DAP signature or token 6982; no memory 6A84.
//   - A security domain without key sets uses those of the domain it is
//     associated with; its first own set makes it PERSONALIZED.
//   - What is installed is associated with the domain that installs it.
//   - A domain manages, locks and lists what is below it; Global Delete, Lock
//     and Registry reach further. It can neither delete nor lock itself.
//   - Receipts are for what a token authorized. Token Verification and Receipt
//     Generation are the issuer security domain's alone.
//
// It is not a Java Card: applets are Go values (see Applet). Load files are
// taken, checked and kept account of as on a Java Card; an application made of
// one runs the Go value under its module's AID in Config.Applets, or else can
// only be selected. And it shares no code with the host side (cardio/gp, cardio/lds):
// its cryptography is its own, so that both cannot make the same mistake.
package virtual
