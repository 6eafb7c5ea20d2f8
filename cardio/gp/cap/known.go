package cap

import "encoding/hex"

// known are packages that a card's maker provides, by AID: those of the Java
// Card API, of GlobalPlatform and of the SIM and UICC API (ETSI TS 102 241,
// 3GPP TS 31.130 and 43.019).
var known = map[string]string{
	"a0000000620001":                   "java.lang",
	"a0000000620002":                   "java.io",
	"a0000000620003":                   "java.rmi",
	"a0000000620101":                   "javacard.framework",
	"a000000062010101":                 "javacard.framework.service",
	"a0000000620102":                   "javacard.security",
	"a0000000620201":                   "javacardx.crypto",
	"a0000000620202":                   "javacardx.biometry",
	"a0000000620203":                   "javacardx.external",
	"a0000000620204":                   "javacardx.biometry1toN",
	"a000000062020501":                 "javacardx.framework.util",
	"a00000006202050101":               "javacardx.framework.util.intx",
	"a000000062020502":                 "javacardx.framework.math",
	"a000000062020503":                 "javacardx.framework.tlv",
	"a000000062020504":                 "javacardx.framework.string",
	"a0000000620209":                   "javacardx.apdu",
	"a000000062020901":                 "javacardx.apdu.util",
	"a00000015100":                     "org.globalplatform",
	"a0000000030000":                   "visa.openplatform",
	"a0000000090003ffffffff8910710001": "sim.access",
	"a0000000090003ffffffff8910710002": "sim.toolkit",
	"a0000000090005ffffffff8911000000": "uicc.access",
	"a0000000090005ffffffff8912000000": "uicc.toolkit",
	"a0000000090005ffffffff8913000000": "uicc.usim.access",
	"a0000000090005ffffffff8913100000": "uicc.usim.toolkit",
}

// PackageName is the name of a package that a card's maker provides, with dots;
// empty for any other.
func PackageName(aid []byte) string { return known[hex.EncodeToString(aid)] }

// platforms are the versions of javacard.framework that each Java Card
// specification brought.
var platforms = map[Version]string{
	{1, 2}: "2.2.1", {1, 3}: "2.2.2", {1, 4}: "3.0.1", {1, 5}: "3.0.4", {1, 6}: "3.0.5", {1, 8}: "3.1",
}

// JavaCard is the version of the Java Card specification that the file was
// built against, told from the version of javacard.framework that it imports;
// empty where that is not known. A card of an older one does not link it.
func (f *File) JavaCard() string {
	for _, p := range f.Imports {
		if PackageName(p.AID) == "javacard.framework" {
			return platforms[p.Version]
		}
	}
	return ""
}
