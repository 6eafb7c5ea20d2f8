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
	full := holderName{p, s}
	if full.length() <= width {
		return fill(full.String(), width), nil
	}
	return fill(full.truncate(width).String(), width), nil
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

// holderName is a name in its components.
type holderName struct{ primary, secondary []string }

func (n holderName) String() string {
	s := strings.Join(n.primary, "<")
	if len(n.secondary) > 0 {
		s += "<<" + strings.Join(n.secondary, "<")
	}
	return s
}

func (n holderName) length() int { return len(n.String()) }

// truncate shortens a name that does not fit into width characters.
func (n holderName) truncate(width int) holderName {
	primary := len(strings.Join(n.primary, "<"))
	var out holderName
	switch {
	case len(n.secondary) == 0:
		out.primary = shorten(n.primary, width)
	case primary+3 <= width:
		// Only the secondary identifier gives way.
		out.primary = append(out.primary, n.primary...)
		out.secondary = shorten(n.secondary, width-primary-2)
	default:
		// The primary identifier makes room for "<<" and one letter.
		out.primary = shorten(n.primary, width-3)
		out.secondary = []string{n.secondary[0][:1]}
	}
	out.lengthen(out.secondary, n.secondary, width)
	out.lengthen(out.primary, n.primary, width)
	if out.length() == width-1 {
		out.closeGap(n)
	}
	return out
}

// shorten makes initials of components, last first and the first never, until
// they fit into n characters; then it drops components from the end; then it
// cuts the first.
func shorten(components []string, n int) []string {
	out := append([]string(nil), components...)
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

// lengthen gives letters back to part, one of the name's identifiers, first
// component first, while the name has room.
func (n holderName) lengthen(part, full []string, width int) {
	for i := range part {
		room := width - n.length()
		part[i] = full[i][:min(len(part[i])+room, len(full[i]))]
	}
}

// closeGap fills a last position that would be '<' although components were
// dropped: one more component comes in with its initial, and a longer one pays
// for the separator with a letter. Where every component is a single letter
// nothing can pay, and the filler stays.
func (n *holderName) closeGap(full holderName) {
	part, all := &n.primary, full.primary
	if len(n.secondary) > 0 {
		part, all = &n.secondary, full.secondary
	}
	if len(*part) == len(all) {
		return
	}
	for i := len(n.primary) - 1; i >= 0; i-- {
		if k := len(n.primary[i]); k > 1 {
			n.primary[i] = n.primary[i][:k-1]
			*part = append(*part, all[len(*part)][:1])
			return
		}
	}
}
