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
// It is not a Java Card: applets are Go values (see Applet). Load files are
// taken, checked and kept account of as on a Java Card; an application made of
// one runs the Go value under its module's AID in Config.Applets, or else can
// only be selected. And it shares no code with the host side (cardio/gp, cardio/lds):
// its cryptography is its own, so that both cannot make the same mistake.
package virtual
