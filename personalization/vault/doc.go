// Package vault is what this project asks of its keys, said as intents: open
// this card's channel, sign this SOD, seal this record. Nothing else leaves
// the token, so what does is decided here and nowhere else.
//
// It has two halves. [Client] is what the rest of the program holds. Each of
// its methods is one call to the agent, a process of its own (see hsm/agent)
// that runs [Main] and holds the PKCS#11 module, the PIN and a Service over
// hsm.Token.
//
// # What reaches memory
//
// Master keys, static and session keys of cards, the signing keys and the
// key-encryption keys stay in the token. These intermediates reach the
// agent's memory, are kept in as few places as possible and are zeroed:
//
//   - the ECDH shared secret and content key of an encrypted record (OpenJWE):
//     SoftHSM has no key derivation that would keep them inside;
//   - records and card secrets in the clear while they are sealed, opened or
//     enciphered for a card;
//   - a card's BAC, PACE and chip authentication keys, its transport PIN and
//     unblock key, which are born in the agent from the token's random numbers;
//   - static keys of a card in the clear, only where the module cannot derive
//     inside the token (see hsm.Capabilities), and, for development keys alone,
//     where a software card is made that needs them (BlankKeys);
//   - a card's new triple DES keys, one at a time, while PUT KEY enciphers them:
//     SoftHSM cannot wrap under triple DES.
//
// What crosses to the client besides ciphertext and signatures: the record it
// asked to open, the transport PIN for the proof and the hand-over
// ([Client.TransportPIN]), the unblocking key for a holder who was checked
// ([Client.UnblockingKey]), and a
// software blank's transport keys. These are of type [Secret], which prints as
// [redacted], except records and card images, which are plain bytes.
package vault
