// Package virtual is a GlobalPlatform card in software: a chip with its
// issuer security domain, secure channel, life cycle and persistent memory,
// on which applets run. Bureaus rehearse lots and train staff on it; tests
// and benchmarks run on it. It is never put into production.
//
// It implements GlobalPlatform Card Specification 2.3.1 (GPC_SPE_034), as far
// as a personalization bureau meets it, and Secure Channel Protocol '03'
// (GPC_SPE_014, Amendment D 1.1.2). It is strict: what a careful chip refuses,
// it refuses, with the status word of the standard.
//
// It is not a Java Card: applets are Go values (see Applet), nothing is
// loaded. And it shares no code with the host side (cardio/gp, cardio/lds):
// its cryptography is its own, so that both cannot make the same mistake.
package virtual
