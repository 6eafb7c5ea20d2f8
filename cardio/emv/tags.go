package emv

import "cardbureau/cardio/tlv"

// Data elements (EMV 4.3 Book 3, annex A). Those of the terminal are marked so.
const (
	TagApplicationTemplate tlv.Tag = 0x61
	TagFCI                 tlv.Tag = 0x6F
	TagRecord              tlv.Tag = 0x70
	TagScript1             tlv.Tag = 0x71 // before the second GENERATE AC
	TagScript2             tlv.Tag = 0x72 // after it
	TagFormat2             tlv.Tag = 0x77
	TagFormat1             tlv.Tag = 0x80
	TagCommandTemplate     tlv.Tag = 0x83
	TagProprietary         tlv.Tag = 0xA5
	TagDiscretionary       tlv.Tag = 0xBF0C

	TagADF              tlv.Tag = 0x4F
	TagLabel            tlv.Tag = 0x50
	TagTrack2           tlv.Tag = 0x57
	TagPAN              tlv.Tag = 0x5A
	TagName             tlv.Tag = 0x5F20
	TagExpiry           tlv.Tag = 0x5F24
	TagEffective        tlv.Tag = 0x5F25
	TagIssuerCountry    tlv.Tag = 0x5F28
	TagCurrency         tlv.Tag = 0x5F2A // terminal
	TagLanguage         tlv.Tag = 0x5F2D
	TagServiceCode      tlv.Tag = 0x5F30
	TagPANSequence      tlv.Tag = 0x5F34
	TagCurrencyExponent tlv.Tag = 0x5F36 // terminal
	TagAIP              tlv.Tag = 0x82
	TagDFName           tlv.Tag = 0x84
	TagScriptCommand    tlv.Tag = 0x86
	TagPriority         tlv.Tag = 0x87
	TagSFI              tlv.Tag = 0x88
	TagARC              tlv.Tag = 0x8A // issuer or terminal: authorization response code
	TagCDOL1            tlv.Tag = 0x8C
	TagCDOL2            tlv.Tag = 0x8D
	TagCVMList          tlv.Tag = 0x8E
	TagCAIndex          tlv.Tag = 0x8F
	TagIssuerCert       tlv.Tag = 0x90
	TagIssuerAuth       tlv.Tag = 0x91 // issuer
	TagIssuerRemainder  tlv.Tag = 0x92
	TagSSAD             tlv.Tag = 0x93
	TagAFL              tlv.Tag = 0x94
	TagTVR              tlv.Tag = 0x95 // terminal
	TagTDOL             tlv.Tag = 0x97
	TagTCHash           tlv.Tag = 0x98 // terminal
	TagDate             tlv.Tag = 0x9A // terminal
	TagTSI              tlv.Tag = 0x9B // terminal
	TagTransactionType  tlv.Tag = 0x9C // terminal
	TagAmount           tlv.Tag = 0x9F02
	TagAmountOther      tlv.Tag = 0x9F03
	TagTerminalAID      tlv.Tag = 0x9F06 // terminal
	TagUsage            tlv.Tag = 0x9F07
	TagCardVersion      tlv.Tag = 0x9F08
	TagTerminalVersion  tlv.Tag = 0x9F09 // terminal
	TagIACDefault       tlv.Tag = 0x9F0D
	TagIACDenial        tlv.Tag = 0x9F0E
	TagIACOnline        tlv.Tag = 0x9F0F
	TagIAD              tlv.Tag = 0x9F10
	TagIssuerCodeTable  tlv.Tag = 0x9F11
	TagPreferredName    tlv.Tag = 0x9F12
	TagLastOnlineATC    tlv.Tag = 0x9F13
	TagLowerOffline     tlv.Tag = 0x9F14
	TagPINTries         tlv.Tag = 0x9F17
	TagScriptID         tlv.Tag = 0x9F18 // issuer
	TagTerminalCountry  tlv.Tag = 0x9F1A // terminal
	TagFloorLimit       tlv.Tag = 0x9F1B // terminal
	TagTrack1Extra      tlv.Tag = 0x9F1F
	TagTime             tlv.Tag = 0x9F21 // terminal
	TagUpperOffline     tlv.Tag = 0x9F23
	TagCryptogram       tlv.Tag = 0x9F26
	TagCID              tlv.Tag = 0x9F27
	TagPINCert          tlv.Tag = 0x9F2D
	TagPINExponent      tlv.Tag = 0x9F2E
	TagPINRemainder     tlv.Tag = 0x9F2F
	TagIssuerExponent   tlv.Tag = 0x9F32
	TagCapabilities     tlv.Tag = 0x9F33 // terminal
	TagCVMResults       tlv.Tag = 0x9F34 // terminal
	TagTerminalType     tlv.Tag = 0x9F35 // terminal
	TagATC              tlv.Tag = 0x9F36
	TagUnpredictable    tlv.Tag = 0x9F37 // terminal
	TagPDOL             tlv.Tag = 0x9F38
	TagAdditional       tlv.Tag = 0x9F40 // terminal: additional capabilities
	TagCardCurrency     tlv.Tag = 0x9F42
	TagCardExponent     tlv.Tag = 0x9F44
	TagDAC              tlv.Tag = 0x9F45
	TagICCCert          tlv.Tag = 0x9F46
	TagICCExponent      tlv.Tag = 0x9F47
	TagICCRemainder     tlv.Tag = 0x9F48
	TagDDOL             tlv.Tag = 0x9F49
	TagSDATagList       tlv.Tag = 0x9F4A
	TagSDAD             tlv.Tag = 0x9F4B
	TagDynamicNumber    tlv.Tag = 0x9F4C
	TagLogEntry         tlv.Tag = 0x9F4D
	TagLogFormat        tlv.Tag = 0x9F4F
	TagScriptResults    tlv.Tag = 0x9F5B // terminal
)

// Format is how a data element is written (Book 3, section 4.3).
type Format byte

// Formats.
const (
	Binary            Format = iota // b
	Numeric                         // n: two digits a byte, zeros in front
	CompressedNumeric               // cn: two digits a byte, F's behind
	Alphanumeric                    // an, and a
	Special                         // ans
)

// Element is what the standard says of a data element.
type Element struct {
	Name     string
	Format   Format
	Min, Max int // bytes; Max 0: any number
	Terminal bool
}

var elements = map[tlv.Tag]Element{
	TagADF:              {"application identifier (card)", Binary, 5, 16, false},
	TagLabel:            {"application label", Special, 1, 16, false},
	TagTrack2:           {"track 2 equivalent data", Binary, 1, 19, false},
	TagPAN:              {"primary account number", CompressedNumeric, 1, 10, false},
	TagName:             {"cardholder name", Special, 2, 26, false},
	TagExpiry:           {"application expiration date", Numeric, 3, 3, false},
	TagEffective:        {"application effective date", Numeric, 3, 3, false},
	TagIssuerCountry:    {"issuer country code", Numeric, 2, 2, false},
	TagCurrency:         {"transaction currency code", Numeric, 2, 2, true},
	TagLanguage:         {"language preference", Alphanumeric, 2, 8, false},
	TagServiceCode:      {"service code", Numeric, 2, 2, false},
	TagPANSequence:      {"PAN sequence number", Numeric, 1, 1, false},
	TagCurrencyExponent: {"transaction currency exponent", Numeric, 1, 1, true},
	TagAIP:              {"application interchange profile", Binary, 2, 2, false},
	TagDFName:           {"dedicated file name", Binary, 5, 16, false},
	TagPriority:         {"application priority indicator", Binary, 1, 1, false},
	TagSFI:              {"short file identifier", Binary, 1, 1, false},
	TagARC:              {"authorization response code", Alphanumeric, 2, 2, true},
	TagCDOL1:            {"card risk management DOL 1", Binary, 1, 252, false},
	TagCDOL2:            {"card risk management DOL 2", Binary, 1, 252, false},
	TagCVMList:          {"CVM list", Binary, 8, 252, false},
	TagCAIndex:          {"CA public key index", Binary, 1, 1, false},
	TagIssuerCert:       {"issuer public key certificate", Binary, 64, 248, false},
	TagIssuerAuth:       {"issuer authentication data", Binary, 8, 16, true},
	TagIssuerRemainder:  {"issuer public key remainder", Binary, 0, 0, false},
	TagSSAD:             {"signed static application data", Binary, 64, 248, false},
	TagAFL:              {"application file locator", Binary, 4, 252, false},
	TagTVR:              {"terminal verification results", Binary, 5, 5, true},
	TagTDOL:             {"transaction certificate DOL", Binary, 1, 252, false},
	TagTCHash:           {"transaction certificate hash value", Binary, 20, 20, true},
	TagDate:             {"transaction date", Numeric, 3, 3, true},
	TagTSI:              {"transaction status information", Binary, 2, 2, true},
	TagTransactionType:  {"transaction type", Numeric, 1, 1, true},
	TagAmount:           {"amount, authorized", Numeric, 6, 6, true},
	TagAmountOther:      {"amount, other", Numeric, 6, 6, true},
	TagTerminalAID:      {"application identifier (terminal)", Binary, 5, 16, true},
	TagUsage:            {"application usage control", Binary, 2, 2, false},
	TagCardVersion:      {"application version number (card)", Binary, 2, 2, false},
	TagTerminalVersion:  {"application version number (terminal)", Binary, 2, 2, true},
	TagIACDefault:       {"issuer action code, default", Binary, 5, 5, false},
	TagIACDenial:        {"issuer action code, denial", Binary, 5, 5, false},
	TagIACOnline:        {"issuer action code, online", Binary, 5, 5, false},
	TagIAD:              {"issuer application data", Binary, 1, 32, false},
	TagIssuerCodeTable:  {"issuer code table index", Numeric, 1, 1, false},
	TagPreferredName:    {"application preferred name", Special, 1, 16, false},
	TagLastOnlineATC:    {"last online ATC register", Binary, 2, 2, false},
	TagLowerOffline:     {"lower consecutive offline limit", Binary, 1, 1, false},
	TagPINTries:         {"PIN try counter", Binary, 1, 1, false},
	TagTerminalCountry:  {"terminal country code", Numeric, 2, 2, true},
	TagFloorLimit:       {"terminal floor limit", Binary, 4, 4, true},
	TagTrack1Extra:      {"track 1 discretionary data", Special, 0, 0, false},
	TagTime:             {"transaction time", Numeric, 3, 3, true},
	TagUpperOffline:     {"upper consecutive offline limit", Binary, 1, 1, false},
	TagCryptogram:       {"application cryptogram", Binary, 8, 8, false},
	TagCID:              {"cryptogram information data", Binary, 1, 1, false},
	TagPINCert:          {"ICC PIN encipherment public key certificate", Binary, 64, 248, false},
	TagPINExponent:      {"ICC PIN encipherment public key exponent", Binary, 1, 3, false},
	TagPINRemainder:     {"ICC PIN encipherment public key remainder", Binary, 0, 0, false},
	TagIssuerExponent:   {"issuer public key exponent", Binary, 1, 3, false},
	TagCapabilities:     {"terminal capabilities", Binary, 3, 3, true},
	TagCVMResults:       {"CVM results", Binary, 3, 3, true},
	TagTerminalType:     {"terminal type", Numeric, 1, 1, true},
	TagATC:              {"application transaction counter", Binary, 2, 2, false},
	TagUnpredictable:    {"unpredictable number", Binary, 4, 4, true},
	TagPDOL:             {"processing options DOL", Binary, 1, 252, false},
	TagAdditional:       {"additional terminal capabilities", Binary, 5, 5, true},
	TagCardCurrency:     {"application currency code", Numeric, 2, 2, false},
	TagCardExponent:     {"application currency exponent", Numeric, 1, 1, false},
	TagDAC:              {"data authentication code", Binary, 2, 2, true},
	TagICCCert:          {"ICC public key certificate", Binary, 64, 248, false},
	TagICCExponent:      {"ICC public key exponent", Binary, 1, 3, false},
	TagICCRemainder:     {"ICC public key remainder", Binary, 0, 0, false},
	TagDDOL:             {"dynamic data authentication DOL", Binary, 1, 252, false},
	TagSDATagList:       {"SDA tag list", Binary, 0, 0, false},
	TagSDAD:             {"signed dynamic application data", Binary, 64, 248, false},
	TagDynamicNumber:    {"ICC dynamic number", Binary, 2, 8, true},
	TagLogEntry:         {"log entry", Binary, 2, 2, false},
	TagLogFormat:        {"log format", Binary, 0, 0, false},
}

// Lookup is what the standard says of a tag; ok is false for one that it does not
// name or that this package does not use.
func Lookup(tag tlv.Tag) (e Element, ok bool) {
	e, ok = elements[tag]
	return e, ok
}
