package stock

// Blank is one card without a person, as a delivery list names it.
type Blank struct {
	Serial string `json:"serial"` // serial identification of the chip, CPLC fields as the chip profile writes them
	Chip   string `json:"chip"`   // name of the chip profile
	Batch  string `json:"batch"`  // the maker's batch
}
