// Package identity builds everything that the identity application of a card
// holds: the machine readable zone, the data groups, EF.COM, EF.CardAccess,
// the services file behind the holder's PIN, the document security object, and
// the certificates that it hangs on. It also draws the random numbers of a
// card (document number, CAN, PINs) and derives the chip's access keys.
//
// It implements ICAO Doc 9303, eighth edition (2021): part 3 (MRZ, check
// digits, dates), part 5 (TD1 layout, truncation of names), part 10 (LDS 1.8),
// part 11 (security infos, BAC and PACE password derivation) and part 12
// (certificate and CRL profiles), with ISO/IEC 19794-5:2005 for the face image,
// RFC 5652 for the security object and RFC 5280 for certificates.
//
// Everything here is a pure function: bytes in, bytes out. Private keys come
// as crypto.Signer, so they may live in a token; randomness comes as io.Reader.
// The package knows no card, no database and no token, and it verifies nothing
// that a card says: reading is the business of cardio/lds.
//
// # Country codes
//
// The MRZ and the alternative names of the certificates carry the issuing
// State's ICAO code (UTO, IRN). countryName in certificates must be a
// two-letter code (Doc 9303-12, 7.1.1.1). ICAO's Utopia has none of its own in
// ISO 3166-1, so development certificates use UT, which ISO has not assigned;
// production uses IR.
package identity
