package trace

// secured reports whether a class byte says secure messaging: bits 3 and 4 for
// logical channels 0 to 3, bit 6 for the others (ISO/IEC 7816-4:2020 clause
// 5.4.1, GPC_SPE_034 11.1.4).
func secured(cla byte) bool {
	if cla&0x40 != 0 {
		return cla&0x20 != 0
	}
	return cla&0x0C != 0
}

// channel is the logical channel of a class byte.
func channel(cla byte) int {
	if cla&0x40 != 0 {
		return int(cla&0x0F) + 4
	}
	return int(cla & 0x03)
}

// chained reports command chaining (ISO/IEC 7816-4:2020 clause 5.3.3).
func chained(cla byte) bool { return cla&0x10 != 0 }

// proprietary reports a class outside ISO/IEC 7816-4, GlobalPlatform's among
// them.
func proprietary(cla byte) bool { return cla&0x80 != 0 }

// Instructions, of ISO/IEC 7816-4 and where they differ of GPC_SPE_034
// chapter 11.
const (
	insManageChannel        = 0x70
	insExternalAuthenticate = 0x82
	insSelect               = 0xA4
	insGetResponse          = 0xC0
	insGetData              = 0xCA
	insInitializeUpdate     = 0x50
	insDelete               = 0xE4
	insInstall              = 0xE6
	insSetStatus            = 0xF0
	insGetStatus            = 0xF2
)

var interindustry = map[byte]string{
	0x04: "DEACTIVATE FILE", 0x0E: "ERASE BINARY", 0x20: "VERIFY", 0x21: "VERIFY", 0x22: "MANAGE SECURITY ENVIRONMENT", 0x24: "CHANGE REFERENCE DATA",
	0x26: "DISABLE VERIFICATION REQUIREMENT", 0x28: "ENABLE VERIFICATION REQUIREMENT", 0x2A: "PERFORM SECURITY OPERATION", 0x2C: "RESET RETRY COUNTER",
	0x44: "ACTIVATE FILE", 0x46: "GENERATE ASYMMETRIC KEY PAIR", 0x47: "GENERATE ASYMMETRIC KEY PAIR", 0x70: "MANAGE CHANNEL", 0x82: "EXTERNAL AUTHENTICATE",
	0x84: "GET CHALLENGE", 0x86: "GENERAL AUTHENTICATE", 0x87: "GENERAL AUTHENTICATE", 0x88: "INTERNAL AUTHENTICATE", 0xA4: "SELECT",
	0xB0: "READ BINARY", 0xB1: "READ BINARY", 0xB2: "READ RECORD", 0xB3: "READ RECORD", 0xC0: "GET RESPONSE", 0xC2: "ENVELOPE", 0xCA: "GET DATA", 0xCB: "GET DATA",
	0xD0: "WRITE BINARY", 0xD2: "WRITE RECORD", 0xD6: "UPDATE BINARY", 0xD7: "UPDATE BINARY", 0xDA: "PUT DATA", 0xDB: "PUT DATA",
	0xDC: "UPDATE RECORD", 0xDD: "UPDATE RECORD", 0xE0: "CREATE FILE", 0xE2: "APPEND RECORD", 0xE4: "DELETE FILE", 0xE6: "TERMINATE DF", 0xFE: "TERMINATE CARD USAGE",
}

var globalPlatform = map[byte]string{
	0x50: "INITIALIZE UPDATE", 0x82: "EXTERNAL AUTHENTICATE", 0xCA: "GET DATA", 0xD8: "PUT KEY", 0xE2: "STORE DATA", 0xE4: "DELETE",
	0xE6: "INSTALL", 0xE8: "LOAD", 0xF0: "SET STATUS", 0xF2: "GET STATUS",
}

// Name is what the standards call an instruction, or empty. It is for people:
// a proprietary class may mean something else by the same byte.
func Name(cla, ins byte) string {
	if proprietary(cla) {
		if name, ok := globalPlatform[ins]; ok {
			return name
		}
	}
	return interindustry[ins]
}
