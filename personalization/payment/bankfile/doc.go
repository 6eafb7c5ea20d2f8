// Package bankfile is the bank's files: the issuing result (what became of each
// card), the daily reconciliation (balances and control totals) and the bank's
// acknowledgement (line by line), each as comma-separated values (RFC 4180) or in
// lines of a fixed length. docs/bank-files.md describes them for the bank.
//
// It writes and reads, and keeps nothing: where the rows come from, which sequence
// number is next and where a file goes is the caller's business. Nothing in it
// signs or enciphers; a file is protected by what carries it.
//
// One list of fields a record, with both directions in it, makes both forms
// (field.go). A file is right when its lines are, its trailer's totals and running
// hash are what its lines give, and it follows the file before it (Info.Follows).
// A reader takes a file whole or not at all, and its errors name lines and fields
// and never repeat what stands there.
//
// No field can be a formula to a spreadsheet: every value begins with a letter or a
// digit and has no others than letters, digits and . * _ - (RFC 4180 has no rule for
// this). No field can be a PAN: rows carry its token and its first six and last four
// digits.
package bankfile
