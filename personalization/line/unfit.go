package line

import (
	"fmt"

	"cardbureau/personalization/profile"
)

// Unfit says why production takes no card of a chip: it is a software card, or
// nobody has tried its profile. nil: it does, and in development always.
func Unfit(chip *profile.Chip, serial string, development bool) error {
	switch {
	case development:
		return nil
	case chip.IsVirtual():
		return fmt.Errorf("card %s is a software card: production takes none", serial)
	case chip.Untried != "":
		return fmt.Errorf("card %s is of chip %s, whose profile nobody has tried (%s): try it in development, and take untried out of the profile", serial, chip.Name, chip.Untried)
	}
	return nil
}
