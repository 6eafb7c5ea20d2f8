// Package profiles carries the firmware profiles that come with the program:
// one YAML file a chip, a diversification, an applet, a payment scheme, a product and a kind
// of SIM. Package
// personalization/profile reads them; a folder of the installation can
// override any of them by name.
package profiles

import "embed"

// FS holds chips/, diversifications/, applets/, payments/, products/ and sims/.
//
//go:embed chips/*.yaml diversifications/*.yaml applets/*.yaml payments/*.yaml products/*.yaml sims/*.yaml
var FS embed.FS

// Schema is a JSON Schema of the profile language, for editors: begin a profile
// with "# yaml-language-server: $schema=" and the path of this file.
//
//go:embed schema.json
var Schema []byte
