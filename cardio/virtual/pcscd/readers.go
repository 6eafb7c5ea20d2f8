package pcscd

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

const readersFile = "readers.json"

// Reader is one virtual reader as other programs find it.
type Reader struct {
	Name    string `json:"name"`              // in PC/SC
	Port    int    `json:"port"`              // of its driver
	Control string `json:"control"`           // unix socket of the rack that plays its cards
	Encoder string `json:"encoder,omitempty"` // serial port of the stripe encoder beside it
}

// Readers is the content of readers.json: how other programs reach a running
// private pcscd.
type Readers struct {
	Socket  string   `json:"csock"` // value of PCSCLITE_CSOCK_NAME
	Readers []Reader `json:"readers"`
}

// ReadReaders reads readers.json in dir. The error is os.ErrNotExist where no
// private pcscd runs.
func ReadReaders(dir string) (Readers, error) {
	var r Readers
	b, err := os.ReadFile(filepath.Join(dir, readersFile))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return Readers{}, fmt.Errorf("%s: %w", filepath.Join(dir, readersFile), err)
	}
	return r, nil
}

// WriteReaders replaces readers.json in dir.
func WriteReaders(dir string, r Readers) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, readersFile), append(b, '\n'))
}
