// Package judges holds tests in which software that no one here wrote judges
// this program: readers, a chip's cryptography, certificate and CMS libraries.
// The program is built and used as its documentation says; the card it makes
// goes into a virtual reader of a real PC/SC daemon, and the judges open it
// there.
//
// What each judge is asked, and what no judge has looked at, is in
// docs/verification.md. A judge that is not installed is skipped and says so;
// scripts/setup installs all of them, and with CARDBUREAU_JUDGES=required,
// which "make test" sets, a missing one fails.
package judges
