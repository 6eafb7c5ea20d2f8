// Package profiles carries the firmware profiles that come with the program:
// one YAML file a chip, an applet and a product. Package
// personalization/profile reads them; a folder of the installation can
// override any of them by name.
package profiles

import "embed"

// FS holds chips/, applets/ and products/.
//
//go:embed chips/*.yaml applets/*.yaml products/*.yaml
var FS embed.FS
