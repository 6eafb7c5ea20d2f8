package main

import (
	"fmt"

	"cardbureau/cardio/gp"
)

// cplcOrder lists the CPLC's fields as the card lays them out: names for JSON,
// words for people.
var cplcOrder = []struct{ name, text string }{
	{"icFabricator", "IC fabricator"},
	{"icType", "IC type"},
	{"operatingSystem", "operating system"},
	{"osReleaseDate", "OS release date"},
	{"osReleaseLevel", "OS release level"},
	{"icFabricationDate", "IC fabrication date"},
	{"icSerialNumber", "IC serial number"},
	{"icBatch", "IC batch"},
	{"moduleFabricator", "module fabricator"},
	{"modulePackagingDate", "module packaging date"},
	{"iccManufacturer", "card manufacturer"},
	{"embeddingDate", "embedding date"},
	{"prePersonalizer", "pre-personalizer"},
	{"prePersonalizationDate", "pre-personalization date"},
	{"prePersonalizationMachine", "pre-personalization unit"},
	{"personalizer", "personalizer"},
	{"personalizationDate", "personalization date"},
	{"personalizationEquipment", "personalization unit"},
}

func cplcFields(c gp.CPLC) map[string]string {
	hex16 := func(v uint16) string { return fmt.Sprintf("%04X", v) }
	return map[string]string{
		"icFabricator":              hex16(c.ICFabricator),
		"icType":                    hex16(c.ICType),
		"operatingSystem":           hex16(c.OperatingSystem),
		"osReleaseDate":             cplcDate(c.OSReleaseDate),
		"osReleaseLevel":            hex16(c.OSReleaseLevel),
		"icFabricationDate":         cplcDate(c.ICFabricationDate),
		"icSerialNumber":            fmt.Sprintf("%08X", c.ICSerialNumber),
		"icBatch":                   hex16(c.ICBatch),
		"moduleFabricator":          hex16(c.ModuleFabricator),
		"modulePackagingDate":       cplcDate(c.ModulePackagingDate),
		"iccManufacturer":           hex16(c.ICCManufacturer),
		"embeddingDate":             cplcDate(c.EmbeddingDate),
		"prePersonalizer":           hex16(c.PrePersonalizer),
		"prePersonalizationDate":    cplcDate(c.PrePersonalizationDate),
		"prePersonalizationMachine": fmt.Sprintf("%08X", c.PrePersonalizationMachine),
		"personalizer":              hex16(c.Personalizer),
		"personalizationDate":       cplcDate(c.PersonalizationDate),
		"personalizationEquipment":  fmt.Sprintf("%08X", c.PersonalizationEquipmentID),
	}
}

// cplcDate reads a date of four BCD digits, the last digit of the year and the
// day of it; 0000 and what is no date stay hexadecimal.
func cplcDate(v uint16) string {
	year, day := int(v>>12), 0
	for shift := 8; shift >= 0; shift -= 4 {
		digit := int(v >> shift & 0xF)
		if digit > 9 || year > 9 {
			return fmt.Sprintf("%04X", v)
		}
		day = day*10 + digit
	}
	if day < 1 || day > 366 {
		return fmt.Sprintf("%04X", v)
	}
	return fmt.Sprintf("%04X (day %d of a year ending in %d)", v, day, year)
}
