// Package document draws what a bureau prints, as PDF on A4: for now the shift
// sheet, in English.
//
// It knows no database: a caller fills a struct with counts and numbers, and
// the struct draws itself. A document names no person whose card was made; it
// identifies work by attempt, card and blank numbers. Documents are
// reproducible: the same struct gives the same bytes, so that a copy that was
// filed can be compared with one that is drawn again.
//
// Text uses PDF's standard fonts (ISO 32000-1, 9.6.2.2), which every reader
// has and which are not embedded; they cover Latin letters only.
package document
