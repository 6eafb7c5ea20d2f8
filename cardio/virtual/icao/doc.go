// Package icao is the chip's side of the cryptography of ICAO Doc 9303-11 (8th
// edition), which the identity applications of the software card share: Basic
// Access Control (clause 4.3), PACE with generic mapping (clause 4.4), secure
// messaging with 3DES and AES-128 (clause 9.8) and what these are made of.
//
// It knows no files, commands or status words: those differ between
// applications. And it shares no code with the terminal side (cardio/lds), so
// that neither hides the other's mistakes.
package icao
