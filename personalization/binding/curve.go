package binding

import "crypto/elliptic"

// p256 is the curve of chip authentication keys and of the bureau's signatures.
var p256 = elliptic.P256()
