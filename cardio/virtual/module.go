package virtual

import (
	"fmt"
	"strings"
)

// ModuleKey names one build of a module in Config.Applets, where a card, or
// the cards of one program, have several: the AID of the module (hexadecimal,
// in either case) and the version of the load file that brought it, as GET
// STATUS gives it in tag CE (GPC_SPE_034 v2.3.1 table 11-36), two bytes of
// which the first is the major one: "A0000002471001/0945". A build that is not
// there under its key is looked for under the bare AID of its module.
func ModuleKey(moduleAIDHex string, loadFileVersion [2]byte) string {
	return fmt.Sprintf("%s/%X", strings.ToUpper(moduleAIDHex), loadFileVersion)
}

// factory makes the code of a module that a load file brought; nil where there
// is none.
func (c *Chip) factory(loadFile, module []byte) func() Applet {
	name := aidKey(module)
	if f := c.reg.loadFile(loadFile); f != nil {
		if code := c.modules[ModuleKey(name, f.Version)]; code != nil {
			return code
		}
	}
	return c.modules[name]
}

// hasCode says whether the chip can run an application.
func (c *Chip) hasCode(a *application) bool {
	if a.isDomain() || c.factory(a.loadFile, a.module) != nil {
		return true
	}
	f := c.reg.loadFile(a.loadFile)
	return f != nil && f.loaded
}

// newCode is a new instance of an application that is no security domain.
func (c *Chip) newCode(a *application) Applet {
	if code := c.factory(a.loadFile, a.module); code != nil {
		return code()
	}
	return inert{aid: a.aid}
}
