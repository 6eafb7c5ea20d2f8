// Package record reads verified records: what a registry says of one person,
// signed. It checks signature, schema and sense, and answers every fault with a
// stable code; it normalizes names in Arabic script and makes the name of the
// machine readable zone.
//
// A record is the JSON payload of a compact JWS (RFC 7515) with alg ES256,
// PS256 or EdDSA, a kid and typ "verified-record+jws". It may be wrapped once
// more in a compact JWE (RFC 7516) to the bureau's intake key. A file of
// records is one compact JWS or JWE a line. The payload's schema is
// verified-record.schema.json (JSON Schema 2020-12, with format and
// contentEncoding asserted).
//
// Names follow ICAO Doc 9303-3 (eighth edition, 2021), sections 4.6 and 6.
//
// The package is pure: no database, no HSM, and a clock that can be given. What needs
// those (one open order a person, the same record with other content, daily
// caps) is found by callers, who refuse with the codes of this package's table,
// so that one table documents every refusal.
//
// No error and no String method of this package shows a name, a number of a
// person, a photo or a key.
package record
