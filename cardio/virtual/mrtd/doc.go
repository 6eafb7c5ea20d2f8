// Package mrtd is the identity application of the software card: the LDS1
// application of ICAO Doc 9303 (8th edition) with the chip's side of every
// protocol that a border reader speaks.
//
//   - files: Doc 9303-10 clause 3 (EF.CardAccess in the MF; EF.COM, EF.SOD,
//     DG1 … DG16 in the application A0000002471001), SELECT and READ BINARY by
//     file identifier and by short file identifier, ISO/IEC 7816-4:2020;
//   - access: PACE (Doc 9303-11 clause 4.4, PACE-ECDH-GM-AES-CBC-CMAC-128 on
//     P-256, passwords MRZ and CAN) and Basic Access Control (clause 4.3);
//   - chip authentication version 1 (Doc 9303-11 clause 6.2) with 3DES and
//     AES-128;
//   - secure messaging (Doc 9303-11 clause 9.8);
//   - a holder's PIN with an unblocking key, and one file behind it (not
//     ICAO; ISO/IEC 7816-4 clause 11.5 commands);
//   - personalization by data groupings in STORE DATA (see Applet.StoreData).
//
// It is strict: what a standard forbids is refused with the status word of
// that standard. It is not a model of a chip's timing or of its resistance to
// attack: PACE failures are not delayed, and it must never hold the data of a
// real person. It shares no code with the terminal side of this project, so
// that neither hides the other's mistakes.
package mrtd
