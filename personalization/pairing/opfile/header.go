package opfile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cardbureau/hsm/aka"
	"cardbureau/hsm/simkeys"
)

// Header is what stands before the rows.
type Header struct {
	Customer     string
	Quantity     int
	Type         string
	Profile      string // says in which form the keys are
	Batch        string
	TransportKey string // role/version of a key in the token, sim-transport/1
	// TUAK are the parameters of the SIMs' algorithm; nil: it is MILENAGE.
	TUAK *aka.TUAKParameters
	// Programming: the operator has the bureau program these SIMs, which are blanks.
	Programming bool
	Variables   []string // upper case, of the rows' fields
}

var names = []string{"customer", "quantity", "type", "profile", "batch", "transport_key"}

// Values of Purpose.
const (
	forAuthentication = "authentication"
	forProgramming    = "programming"
)

// set takes one header line; it says why not.
func (h *Header) set(name, value string, kind Kind) string {
	switch name {
	case "customer":
		h.Customer = value
	case "type":
		h.Type = value
	case "profile":
		h.Profile = value
	case "batch":
		h.Batch = value
	case "transport_key":
		h.TransportKey = value
	case "quantity":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > MaxQuantity || strconv.Itoa(n) != value {
			return fmt.Sprintf("the quantity is a number from 1 to %d", MaxQuantity)
		}
		h.Quantity = n
	case "algorithm":
		return h.setAlgorithm(strings.ToUpper(value))
	case "purpose":
		if value = strings.ToLower(value); value != forAuthentication && value != forProgramming {
			return "the purpose is authentication or programming"
		}
		h.Programming = value == forProgramming
	case strings.ToLower(string(kind)):
		return h.setVariables(value, kind)
	default:
		return "this name is not known"
	}
	return ""
}

// setAlgorithm reads MILENAGE, or TUAK with the lengths of MAC, RES, CK and IK in bits
// and the number of iterations.
func (h *Header) setAlgorithm(value string) string {
	const reason = "the algorithm is MILENAGE, or TUAK such as TUAK/64/64/128/128/1: bits of MAC, RES, CK and IK, and iterations"
	parts := strings.Split(value, "/")
	if value == "MILENAGE" {
		return ""
	}
	if len(parts) != 6 || parts[0] != "TUAK" {
		return reason
	}
	var n [5]int
	for i := range n {
		v, err := strconv.Atoi(parts[i+1])
		if err != nil || i < 4 && v%8 != 0 {
			return reason
		}
		n[i] = v
	}
	p := aka.TUAKParameters{MAC: n[0] / 8, RES: n[1] / 8, CK: n[2] / 8, IK: n[3] / 8, Iterations: n[4]}
	if simkeys.CheckTUAK(p) != nil {
		return "no USIM has these parameters of TUAK: MAC is 64, RES 32, 64 or 128, CK and IK 128 or 256 bits, iterations are 1 to 255"
	}
	h.TUAK = &p
	return ""
}

// algorithm is the line of TUAK.
func (h *Header) algorithm() string {
	p := h.TUAK
	return fmt.Sprintf("TUAK/%d/%d/%d/%d/%d", 8*p.MAC, 8*p.RES, 8*p.CK, 8*p.IK, p.Iterations)
}

func (h *Header) setVariables(value string, kind Kind) string {
	list := strings.Split(strings.ToUpper(value), "/")
	ota := false
	for i, v := range list {
		if fields[v] == nil || kind == Input && v != "ICCID" && v != "IMSI" {
			return "a variable is not known in such a file"
		}
		if slices.Contains(list[:i], v) {
			return "a variable stands twice"
		}
		ota = ota || slices.Contains(simkeys.OTANames, v)
	}
	has := func(v string) bool { return slices.Contains(list, v) }
	opc, other := "OPC", "TOPC"
	if h.TUAK != nil {
		opc, other = other, opc
	}
	switch {
	case !has("ICCID") || !has("IMSI"):
		return "the variables must name ICCID and IMSI"
	case has(other):
		return "OPC is of MILENAGE and TOPC of TUAK: the line Algorithm, before the variables, says which it is"
	case kind == Output && has("KEYS") == has("KI"):
		return "the variables must name KI and " + opc + ", or KEYS"
	case has("KI") != has(opc) || has("IV") && !has("KI"):
		return "KI, " + opc + " and IV go together"
	case h.Programming && h.TUAK != nil && h.TUAK.CK != h.TUAK.IK:
		return "SIMs that the bureau programs have CK and IK of the same length: blanks have no place for others"
	case ota && !h.Programming:
		return "keys for messages over the air come with Purpose: programming, before the variables"
	}
	for set := 1; set <= 3; set++ {
		kic, kid, kik := has(fmt.Sprint("KIC", set)), has(fmt.Sprint("KID", set)), has(fmt.Sprint("KIK", set))
		if kic != kid || kik && !kic {
			return "KIC and KID of a key set go together, and KIK is not without them"
		}
	}
	h.Variables = list
	return ""
}
