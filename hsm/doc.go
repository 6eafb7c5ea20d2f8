// Package hsm speaks to a hardware security module through PKCS#11 (version
// 2.40): it keeps a pool of sessions, finds keys by role and version, and
// makes, uses, derives and destroys them. It knows no card, person or
// database, and meant to run inside an agent process (see hsm/agent), because
// a vendor's module can hang or crash.
//
// Keys carry labels cb/<role>/<version>. What a module can do is found out by
// known answers with the very templates that are used later, because
// mechanism lists lie; see [Capabilities].
//
// # Derivation inside the token
//
// GlobalPlatform's key diversification and session keys are CMACs used as
// keys. Few modules derive a key by CMAC, but many derive one by encrypting
// data (CKM_AES_ECB_ENCRYPT_DATA, PKCS#11 2.40 2.15). The last step of CMAC is
// one encryption of a block X; X follows from ECB encryptions that the module
// does, so E(K, X) can be made inside it as a new key that is sensitive and
// not extractable. The blocks that reach memory on the way (E(K, 0) and the
// chaining values of public data) are not the derived key, but whoever may
// use the base key to encipher could compute it: that holds for any base key
// that derives by encryption, and is why the agent alone holds the PIN. Where
// a module lacks the mechanism, the CMAC is computed by C_Sign, passes through
// memory, is imported as a key and zeroed; [Token.Capabilities] says so.
//
// # Errors
//
// Errors are sorted by what mends them: a broken session is replaced, a lost
// login repeated once, an object looked up again once, a failing device
// closed, initialized and tested anew with growing delays. A refused PIN is
// never tried again.
package hsm
