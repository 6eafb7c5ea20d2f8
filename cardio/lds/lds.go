// Package lds is the terminal's side of a travel document's chip: access
// control by BAC or PACE, chip authentication, secure messaging, reading
// files, and the holder's PIN. It follows ICAO Doc 9303 part 10 (logical data
// structure) and part 11 (security mechanisms), 8th edition, with BSI
// TR-03110-3 where 9303 refers to it.
//
// What it reads it gives back as bytes: package datagroup takes files apart,
// package sod checks their signature (passive authentication), package proof
// holds the outcome. Inspect does it all, as a border reader would.
//
// PACE is done with generic mapping over elliptic curves, with every standardized curve
// and cipher. Integrated mapping, chip authentication mapping, modular
// Diffie-Hellman and domain parameters of a document's own are refused by
// name; so is extended access control (terminal authentication), which
// guards fingerprints and irises. A
// SecureMessaging session ends on the first answer that does not verify.
//
// Nothing in an error, a report or a String method is personal or secret.
package lds

import "cardbureau/cardio/apdu"

// Files of the LDS1 application and of the master file (9303-10 tables 32
// and 38). Data group n is file 0100 + n.
const (
	FileCardAccess   uint16 = 0x011C // in the master file
	FileCardSecurity uint16 = 0x011D // in the master file
	FileCOM          uint16 = 0x011E
	FileSOD          uint16 = 0x011D
)

// FileDG is the file identifier of data group n, 1 to 16.
func FileDG(n int) uint16 { return 0x0100 + uint16(n) }

// AID is the application identifier of the LDS1 eMRTD application
// (9303-10 section 4.1).
var AID = []byte{0xA0, 0x00, 0x00, 0x02, 0x47, 0x10, 0x01}

// selectMF, selectApplication and selectFile ask for no answer (P2 = 0C), as
// 9303-10 section 3.6 wants them.
func selectMF() apdu.Command {
	return apdu.Command{INS: 0xA4, P1: 0x00, P2: 0x0C, Data: []byte{0x3F, 0x00}}
}

func selectApplication() apdu.Command {
	return apdu.Command{INS: 0xA4, P1: 0x04, P2: 0x0C, Data: AID}
}

func selectFile(fid uint16) apdu.Command {
	return apdu.Command{INS: 0xA4, P1: 0x02, P2: 0x0C, Data: []byte{byte(fid >> 8), byte(fid)}}
}
