// Package usim is a SIM card in software: a UICC with a USIM, on request an
// ISIM, and the SIM of the second generation beside them, at T=0. Desks are
// rehearsed on it and tests run on it. It is never put into production.
//
// It follows ETSI TS 102 221 (files, access rules, PINs), 3GPP TS 31.102 (the
// USIM and its AUTHENTICATE), TS 31.103 (ISIM), TS 51.011 (class A0), TS 33.102
// annex C.2 (sequence numbers) and TS 33.220 (GBA). It is strict: what a
// careful card refuses, it refuses, with the status word of the standard.
// Access rules are those that its own EF.ARR says, read at every command.
//
// Three kinds are made (see Kind): an operator's SIM, whose keys are in no file,
// and blanks that are programmed by whoever has their ADM1, with the key files
// that sysmocom's SJA2 and SJA5 have. ICCID can be rewritten on none. It
// authenticates by MILENAGE (TS 35.206) or TUAK (TS 35.231).
//
// What it has not: logical channels beside the basic one, secured messages over
// the air (their keys and counters are files that nothing reads), COMP128, and of the toolkit more than FETCH and TERMINAL
// RESPONSE of commands that the profile lists. A write that a tear cuts through
// has happened or not; there is no half record.
//
// Its cryptography is its own: it shares no code with hsm/aka, so that both
// cannot make the same mistake.
package usim
