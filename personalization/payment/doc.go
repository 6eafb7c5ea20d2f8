// Package payment is the data preparation of the bank application: what a
// payment scheme says of all cards (Scheme), and what follows from it for one
// card (its records and data groupings, its tracks). It checks account numbers,
// IBANs and PANs.
//
// Everything in it is a pure function: keys, PINs, verification values,
// certificates and signatures come from the vault, what is sealed where is the
// image's business, and the chip and the stripe are written by the line.
//
// Sources: EMV 4.3 Books 1 to 3 (application, records, CCD of Book 3 annex C),
// EMV Card Personalization Specification 1.1, ISO/IEC 7812 and 7813, ISO/IEC
// 4909, ISO 13616 (IBAN), ISO 9564-1 (package pinblock).
package payment
