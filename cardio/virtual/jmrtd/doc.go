// Package jmrtd is the open-source JMRTD passport applet for Java Card as an
// application of the software card, and its fork that speaks PACE: the way it
// is personalized, and what a reader meets afterwards.
//
// The facts are those of passportapplet revision 945 (sos.passportapplet, by
// the SoS group of Radboud University) and of its fork with PACE, read from
// their source and established by running them. The code is its own. The fork's
// source, as it stands, needs libraries that no Java Card has: it runs in
// simulators.
//
// Personalization is in plain: no secure channel, no check of who sends it.
// Whoever stands between host and chip reads every key. So:
//
//   - 00DA0062 document number, date of birth, date of expiry, from which the
//     keys of Basic Access Control follow;
//   - 00DA0060, 00DA0061 modulus and private exponent of an RSA key of 1,024
//     bits for active authentication, in a template whose length is zero;
//   - 00E0 makes a file, 00A4 020C selects it, 00D6 writes it;
//   - 00DADEAD locks: afterwards nothing is written any more;
//   - in the fork, 00DA0065 PACE passwords, EF.CardAccess as file 011C, and
//     00DADEAF, which must precede the lock.
//
// Where the applet runs into an exception of the Java Card machine (an index
// outside an array, a key of the wrong size), the answer is 6F00 and never
// protected, so that secure messaging is out of step afterwards.
//
// What is not played: extended access control (00DA0063, 00DA0064, PSO, MSE
// outside PACE), whose keys are on a binary curve of 163 bits. The applet
// answers as one that was given no such keys: 6D00 or 6982. The fork here
// speaks one of the PACE protocols, id-PACE-ECDH-GM-AES-CBC-CMAC-128 on P-256,
// and not its opening that lets anyone set a PACE password by MSE:Set AT.
package jmrtd
