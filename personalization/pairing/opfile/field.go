package opfile

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"cardbureau/hsm/simkeys"
	"cardbureau/personalization/record"
	"cardbureau/personalization/vault"
)

// field reads one variable's value into a row, or says what it should be.
type field func(r *Row, value string) string

// fields are the variables that rows may have.
var fields = map[string]field{
	"ICCID": func(r *Row, v string) string {
		if len(v) < 19 || len(v) > 20 || !strings.HasPrefix(v, "89") || !record.Luhn(v) {
			return "the ICCID is 19 or 20 digits from 89 with their check digit"
		}
		r.ICCID = v
		return ""
	},
	"IMSI": func(r *Row, v string) string {
		if len(v) < 6 || len(v) > 15 || !decimal(v) {
			return "the IMSI is 6 to 15 digits"
		}
		r.IMSI = v
		return ""
	},
	"PIN1": pin("PIN1", 4, func(r *Row) *vault.Secret { return &r.PIN1 }),
	"PIN2": pin("PIN2", 4, func(r *Row) *vault.Secret { return &r.PIN2 }),
	"PUK1": pin("PUK1", 8, func(r *Row) *vault.Secret { return &r.PUK1 }),
	"PUK2": pin("PUK2", 8, func(r *Row) *vault.Secret { return &r.PUK2 }),
	"ADM1": func(r *Row, v string) string {
		_, err := hex.DecodeString(v)
		if !(len(v) == 8 && decimal(v)) && !(len(v) == 16 && err == nil) {
			return "ADM1 is 8 digits or 16 hexadecimal digits"
		}
		r.ADM1 = vault.Secret(v)
		return ""
	},
	"KI":   bytesOf("KI", func(r *Row) *[]byte { return &r.KI }, 16, 32),
	"OPC":  bytesOf("OPC", func(r *Row) *[]byte { return &r.OPC }, 16),
	"TOPC": bytesOf("TOPC", func(r *Row) *[]byte { return &r.OPC }, 32),
	"IV":   bytesOf("IV", func(r *Row) *[]byte { return &r.IV }, 8, 16),
	"KEYS": bytesOf("KEYS", func(r *Row) *[]byte { return &r.Keys }, 60, 76, 92),
}

// Keys for messages over the air have 16, 24 or 32 bytes, and 28 more where they are
// sealed one by one.
func init() {
	for _, name := range simkeys.OTANames {
		fields[name] = func(r *Row, v string) string {
			var b []byte
			if reason := bytesOf(name, func(*Row) *[]byte { return &b }, 16, 24, 32, 44, 52, 60)(r, v); reason != "" {
				return reason
			}
			if r.OTA == nil {
				r.OTA = map[string][]byte{}
			}
			r.OTA[name] = b
			return ""
		}
	}
}

func pin(name string, least int, of func(*Row) *vault.Secret) field {
	return func(r *Row, v string) string {
		if len(v) < least || len(v) > 8 || !decimal(v) {
			return fmt.Sprintf("%s is %d to 8 digits", name, least)
		}
		*of(r) = vault.Secret(v)
		return ""
	}
}

func bytesOf(name string, of func(*Row) *[]byte, sizes ...int) field {
	return func(r *Row, v string) string {
		b, err := hex.DecodeString(v)
		for _, n := range sizes {
			if err == nil && len(b) == n {
				*of(r) = b
				return ""
			}
		}
		list := make([]string, len(sizes))
		for i, n := range sizes {
			list[i] = strconv.Itoa(n)
		}
		return fmt.Sprintf("%s is %s bytes in hexadecimal", name, strings.Join(list, " or "))
	}
}

func decimal(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// row reads one line.
func (h *Header) row(text string) (r Row, reason string) {
	values := strings.Split(text, " ")
	if len(values) != len(h.Variables) {
		return r, fmt.Sprintf("a row has %d fields, separated by one space", len(h.Variables))
	}
	for i, v := range values {
		if reason := fields[h.Variables[i]](&r, v); reason != "" {
			return r, reason
		}
	}
	return r, h.sizes(&r)
}

// sizes holds a row's keys to the algorithm of the header.
func (h *Header) sizes(r *Row) string {
	switch {
	case h.TUAK == nil && len(r.KI) == 32:
		return "KI is 16 bytes in hexadecimal"
	case len(r.Keys) > 0 && h.TUAK == nil != (len(r.Keys) == 60):
		return "KEYS is 60 bytes in hexadecimal, of TUAK 76 or 92"
	}
	for _, k := range r.OTA {
		if sealed := len(k) > 32; sealed != (len(r.Keys) > 0) {
			return "keys for messages over the air are sealed where KEYS is, and only there"
		}
		if len(k)%aesBlock != 0 && len(r.Keys) == 0 && !h.underDES3() {
			return "a key of 24 bytes is no whole number of blocks of AES: it comes under a triple DES key, or sealed with KEYS"
		}
	}
	return ""
}

const aesBlock = 16 // bytes

// underDES3 reports whether the transport key is a triple DES key, by its role.
func (h *Header) underDES3() bool {
	role, _, _ := strings.Cut(h.TransportKey, "/")
	return strings.HasSuffix(role, vault.RoleDES3)
}

// value is a variable of a row as it is written.
func (r *Row) value(variable string) string {
	switch variable {
	case "ICCID":
		return r.ICCID
	case "IMSI":
		return r.IMSI
	case "KI":
		return hex.EncodeToString(r.KI)
	case "OPC", "TOPC":
		return hex.EncodeToString(r.OPC)
	case "IV":
		return hex.EncodeToString(r.IV)
	case "KEYS":
		return hex.EncodeToString(r.Keys)
	}
	if k, ok := r.OTA[variable]; ok {
		return hex.EncodeToString(k)
	}
	secrets := map[string]vault.Secret{"PIN1": r.PIN1, "PUK1": r.PUK1, "PIN2": r.PIN2, "PUK2": r.PUK2, "ADM1": r.ADM1}
	return string(secrets[variable])
}
