// Package pairing ties an identity card and a SIM to one holder: both chips answer
// in one attended session, the operator confirms the subscription, and the issuer
// signs what was seen. Reading an ICCID proves nothing and is never enough.
//
// [Service.Run] is the whole of it. What it needs of chips it asks of a [Holder] (the
// identity card, behind its PIN), a [SIM] and the SIM's [AuthenticationCentre]; of
// the telephone company of an [Operator]. It knows no reader, and of cards only what [CardSIM] joins.
//
// # What is signed and hashed
//
// All hashes are SHA-256; ‖ is concatenation, integers are big-endian.
//
//	the identity card signs   H("pair-v1" ‖ session (16) ‖ nonce (32) ‖ length of terminal (2) ‖ terminal)
//	the SIM's challenge is    the first 16 bytes of H("pair-rand-v1" ‖ session (16) ‖ nonce (32) ‖ the centre's seed (16))
//	the number's commitment   H("pair-msisdn-v1" ‖ salt (32) ‖ "+989…" in ASCII)
//
// # What is kept
//
// ICCID and MSISDN are keyed digests, or sealed under the person's data key; the
// IMSI is sealed and dropped on activation. No IMEI is asked for, no place and no
// terminal is kept with a pairing. RES, CK and IK are not kept at all.
package pairing
