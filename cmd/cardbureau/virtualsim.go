package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"cardbureau/cardio/virtual/nvm"
	"cardbureau/cardio/virtual/rack"
	"cardbureau/cardio/virtual/usim"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/pairing"
)

type virtualSIM struct {
	SIM    string `arg:"" name:"iccid" help:"ICCID of a software SIM that is in no reader."`
	Ahead  uint64 `help:"How many sequence numbers its counter goes ahead: the next pairing resynchronizes once." default:"1000"`
	Closed bool   `help:"Close its window as well: it stays out of step, and no pairing succeeds until it is put ahead without this."`
}

func (virtualSIM) Example() string {
	return "cardbureau virtual sim 8998110000000000012 --ahead 1000 --data /tmp/rehearsal"
}

func (c virtualSIM) Run(_ context.Context, g *globals) error {
	cfg, err := bureau.LoadConfig(g.Data)
	if err != nil {
		return err
	}
	if err := needDevelopment(cfg); err != nil {
		return err
	}
	if _, err := pairing.ParseICCID(c.SIM); err != nil {
		return &exitError{exitUsage, err.Error()}
	}
	path := filepath.Join(virtualFolder(g.Data), string(rack.SIMs), c.SIM+".card")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no software SIM %s lies outside the readers: cardbureau virtual put --slot N takes out what is in one", c.SIM)
	}
	m, err := nvm.Open(path)
	if err != nil {
		return err
	}
	if err := errors.Join(usim.Ahead(m, c.Ahead, c.Closed), m.Close()); err != nil {
		return err
	}
	if g.JSON {
		return printJSON(map[string]any{"sim": c.SIM, "ahead": c.Ahead, "closed": c.Closed})
	}
	if c.Closed {
		fmt.Printf("SIM %s is out of step and stays so\n", c.SIM)
		return nil
	}
	fmt.Printf("SIM %s is %d numbers ahead of its operator\n", c.SIM, c.Ahead)
	return nil
}
