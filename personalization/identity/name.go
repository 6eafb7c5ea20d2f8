package identity

import (
	"fmt"
	"strings"
)

// NameField writes the name field of an MRZ, width characters wide (30 in
// TD1): primary identifier, "<<", secondary identifier, their components
// separated by one '<', filled with '<' (Doc 9303-3, 4.6). A person of one
// name has it in the primary identifier, whichever of the two it comes in.
//
// A name that does not fit is truncated by the rules of Doc 9303-5, 4.2.2.3,
// in the manner of the examples a) of 4.2.3.1 and 4.2.3.2: components give way
// from the last to the first and become initials, the first component of each
// identifier stays longest, the field ends in a letter.
func NameField(primary, secondary string, width int) (string, error) {
	p, err := components(primary)
	if err != nil {
		return "", err
	}
	s, err := components(secondary)
	if err != nil {
		return "", err
	}
	if len(p) == 0 {
		p, s = s, nil
	}
	if len(p) == 0 {
		return "", fmt.Errorf("%w: there is no name", ErrMRZ)
	}
	if n := fieldLength(p, s); n <= width {
		return fill(writeName(p, s), width), nil
	}
	return truncateName(p, s, width), nil
}

// components splits an identifier. Hyphens separate components, apostrophes
// and full stops vanish (Doc 9303-3, 4.6).
func components(identifier string) ([]string, error) {
	clean := strings.NewReplacer("'", "", "’", "", ".", "", ",", " ", "-", " ", "<", " ").Replace(identifier)
	parts := strings.Fields(strings.ToUpper(clean))
	for _, part := range parts {
		for i := 0; i < len(part); i++ {
			if part[i] < 'A' || part[i] > 'Z' {
				return nil, fmt.Errorf("%w: a name holds a character other than A to Z", ErrMRZ)
			}
		}
	}
	return parts, nil
}

func writeName(p, s []string) string {
	name := strings.Join(p, "<")
	if len(s) > 0 {
		name += "<<" + strings.Join(s, "<")
	}
	return name
}

func fieldLength(p, s []string) int { return len(writeName(p, s)) }

// truncateName shortens a name that does not fit into width characters.
func truncateName(p, s []string, width int) string {
	full := [2][]string{p, s}
	primary, secondary := cutTo(p, width), s
	if len(s) > 0 {
		if len(strings.Join(p, "<"))+3 <= width {
			// Only the secondary identifier gives way.
			primary = append([]string(nil), p...)
			secondary = cutTo(s, width-len(strings.Join(p, "<"))-2)
		} else {
			// Room for "<<" and one letter of the secondary identifier.
			full[1] = s[:1]
			secondary = []string{s[0][:1]}
			primary = cutTo(p, width-3)
		}
	}
	giveBack(secondary, full[1], &primary, secondary, width)
	giveBack(primary, full[0], &primary, secondary, width)
	name := writeName(primary, secondary)
	if len(name) == width-1 {
		name = closeGap(primary, secondary, full)
	}
	return fill(name, width)
}

// cutTo makes initials of components, last first and the first never, until
// they fit into n characters; then it drops components from the end; then it
// cuts the first.
func cutTo(parts []string, n int) []string {
	out := append([]string(nil), parts...)
	for i := len(out) - 1; i > 0 && len(strings.Join(out, "<")) > n; i-- {
		out[i] = out[i][:1]
	}
	for len(out) > 1 && len(strings.Join(out, "<")) > n {
		out = out[:len(out)-1]
	}
	if len(out[0]) > n {
		out[0] = out[0][:n]
	}
	return out
}

// giveBack returns letters to the shortened components of part, first to last,
// while the whole name has room.
func giveBack(part, full []string, primary *[]string, secondary []string, width int) {
	for i := range part {
		room := width - fieldLength(*primary, secondary)
		if room <= 0 {
			return
		}
		part[i] = full[i][:min(len(part[i])+room, len(full[i]))]
	}
}

// closeGap fills a last position that would be '<' although components were
// dropped: one more component comes in with its initial, and a longer one pays
// for the separator with a letter. Where every component is a single letter
// nothing can pay and the filler stays.
func closeGap(primary, secondary []string, full [2][]string) string {
	last, all := &primary, full[0]
	if len(secondary) > 0 {
		last, all = &secondary, full[1]
	}
	if len(*last) < len(all) {
		for i := len(primary) - 1; i >= 0; i-- {
			if n := len(primary[i]); n > 1 {
				primary[i] = primary[i][:n-1]
				*last = append(*last, all[len(*last)][:1])
				break
			}
		}
	}
	return writeName(primary, secondary)
}
