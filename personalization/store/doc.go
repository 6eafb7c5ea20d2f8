// Package store is the one place with SQL: a private PostgreSQL cluster or a
// server that an address names, the migrations, the roles, the queries of
// intake, preparation, line, stock and audit as methods, and the River jobs
// that prepare card images.
//
// What may be repeated is a River job; what may not — making a card — is an
// [Attempt]: a row with a fencing token that is committed before the first
// command that changes a card. A process that dies leaves its attempts without
// outcome. They become in doubt, order and blank with them, as soon as another
// process looks ([Store.MarkAbandoned]), and nothing but a person presenting
// the blank again ([Station.Resume]) or two people giving it up
// ([Store.SettleInDoubt]) moves them on. Whether a process lives is decided by
// an advisory lock that its database session holds, never by time.
//
// The schema holds personal data in sealed bytea columns only; the store seals
// and opens nothing. Audit rows and job arguments hold random identifiers and
// reason codes. The package knows no card, no key and no cryptography beyond
// the digest that chains the audit rows and the digest of API keys.
//
// Locks are always taken in the order person, blank, order, attempt, and the
// head of the audit chain last of all at commit, so that no two transactions
// of this package wait for each other.
package store
