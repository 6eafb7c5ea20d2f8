// Package document draws what a bureau prints, as PDF: the shift sheet on A4, in
// English, and the holder's receipt on A5, in Persian.
//
// It knows no database: a caller fills a struct with counts and numbers, and
// the struct draws itself. A document names no person whose card was made; it
// identifies work by attempt, card and blank numbers. Documents are
// reproducible: the same struct gives the same bytes, so that a copy that was
// filed can be compared with one that is drawn again.
//
// English text uses PDF's standard fonts (ISO 32000-1, 9.6.2.2), which every reader
// has and which are not embedded; they cover Latin letters only. Persian is set in
// Vazirmatn, embedded, shaped and ordered here (persian.go).
package document
