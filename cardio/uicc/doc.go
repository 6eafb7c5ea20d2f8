// Package uicc is the terminal side of SIM cards: UICCs with a USIM or an ISIM (ETSI
// TS 102 221 V17.1.0, 3GPP TS 31.102 V17.5.0, TS 31.103) and SIMs of the second
// generation (TS 51.011 V4.15.0, class A0). It selects, reads and writes files,
// verifies PINs, has the card authenticate, and encodes and decodes what the files of a
// subscription hold.
//
// Every command goes through a Guard that passes what is on a list and nothing else:
// files that tell where a phone was, whom its holder knows or what was written and
// called are neither selected nor read, whoever asks. There is no way around it.
//
// What it has not: logical channels beside the basic one, secured messages over the
// air, toolkit commands beyond refusing them, GET IDENTITY.
package uicc
