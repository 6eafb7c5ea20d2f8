// Package aka is the home network's side of authentication and key agreement:
// the algorithm sets MILENAGE (3GPP TS 35.205 and 35.206) and TUAK (TS
// 35.231), authentication vectors, sequence numbers and resynchronization (TS
// 33.102 clause 6.3 and annex C), and GSM triplets that follow from them
// (clause 6.8.1.2).
//
// It is no authentication centre: it holds no subscribers and keeps no
// sequence numbers. It knows no card either; what a SIM answers is given to it
// as bytes.
//
// # Secrets
//
// K, OPc, RES, CK, IK and AK print as [redacted] with every verb and have
// Zero. Nothing here logs.
//
// # Time
//
// No branch and no index depends on a secret. AES is crypto/aes, whose timing
// is constant where the processor has AES instructions (Go promises no more);
// without them its generic code reads tables by secret indices. Keccak and the
// rest are made of exclusive-or, rotation and masks. MACs and responses are
// compared with crypto/subtle.
package aka
