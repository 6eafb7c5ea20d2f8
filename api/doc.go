// Package api answers the HTTP API: it takes signed records in, one or a
// stream of them, and says how orders stand. It is thin: what a record is worth
// is decided by package intake, and an answer never names a person.
//
// Errors are problem details (RFC 9457) with the type
// "urn:cardbureau:problem:CODE"; one table in this package maps every code to
// its status. Keys are bearer tokens (RFC 6750) with scopes. The contract is
// served as OpenAPI 3.1 at /openapi.json and /openapi.yaml, and it is also what
// enforces: an operation's security requirement in the document is the scope
// that the server asks for.
//
// Streams of records travel as lines in both directions at once (HTTP/1.1 full
// duplex or HTTP/2). Memory is bounded by the number of requests that are let
// in, not by the length of a stream.
//
// Logs and metrics hold routes, statuses, durations and identifiers of keys:
// nothing of a request's path, header or body.
package api
