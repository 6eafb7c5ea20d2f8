package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	profiles "cardbureau/firmware-profiles"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/profile"
)

type profileCommand struct {
	List  profileList  `cmd:"" help:"List the chips, applets and products that are known."`
	Check profileCheck `cmd:"" help:"Check profiles; every mistake is told with file and line."`
	Show  profileShow  `cmd:"" help:"Say in plain words what a product does to a card."`
}

// loadProfiles reads the shipped profiles and the data folder's own, if there
// is a data folder.
func loadProfiles(g *globals) (*profile.Set, error) {
	sources := []fs.FS{profiles.FS}
	if cfg, err := bureau.LoadConfig(g.Data); err == nil && cfg.Profiles.Folder != "" {
		folder := cfg.Profiles.Folder
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(g.Data, folder)
		}
		sources = append(sources, os.DirFS(folder))
	}
	return profile.Load(sources...)
}

type profileList struct{}

func (profileList) Example() string { return "cardbureau profile list" }

func (profileList) Run(g *globals) error {
	set, err := loadProfiles(g)
	if err != nil {
		return err
	}
	type row struct {
		Kind  string `json:"kind"`
		Name  string `json:"name"`
		Title string `json:"title"`
	}
	var rows []row
	for _, c := range set.Chips {
		rows = append(rows, row{"chip", c.Name, c.Title})
	}
	for _, a := range set.Applets {
		rows = append(rows, row{"applet", a.Name, a.Title})
	}
	for _, p := range set.Products {
		rows = append(rows, row{"product", p.Name, p.Title})
	}
	sort.Slice(rows, func(i, j int) bool {
		return rows[i].Kind+rows[i].Name < rows[j].Kind+rows[j].Name
	})
	if g.JSON {
		return json.NewEncoder(os.Stdout).Encode(rows)
	}
	for _, r := range rows {
		fmt.Printf("%-8s %-20s %s\n", r.Kind, r.Name, r.Title)
	}
	return nil
}

type profileCheck struct {
	Folder string `arg:"" optional:"" help:"Folder with chips/, applets/ and products/ that override the shipped ones." type:"existingdir"`
}

func (profileCheck) Example() string { return "cardbureau profile check my-profiles/" }

func (c profileCheck) Run(g *globals) error {
	sources := []fs.FS{profiles.FS}
	if c.Folder != "" {
		sources = append(sources, os.DirFS(c.Folder))
	}
	set, err := profile.Load(sources...)
	var mistakes profile.Problems
	if errors.As(err, &mistakes) {
		for _, m := range mistakes {
			fmt.Fprintln(os.Stderr, m)
		}
		return &exitError{exitFailed, fmt.Sprintf("%d mistakes in the profiles", len(mistakes))}
	}
	if err != nil {
		return err
	}
	if g.JSON {
		return json.NewEncoder(os.Stdout).Encode(map[string]int{"chips": len(set.Chips), "applets": len(set.Applets), "products": len(set.Products)})
	}
	fmt.Printf("%d chips, %d applets and %d products are in order\n", len(set.Chips), len(set.Applets), len(set.Products))
	return nil
}

type profileShow struct {
	Product string `arg:"" help:"Name of the product."`
}

func (profileShow) Example() string { return "cardbureau profile show identity" }

func (c profileShow) Run(g *globals) error {
	set, err := loadProfiles(g)
	if err != nil {
		return err
	}
	p := set.Products[c.Product]
	if p == nil {
		return fmt.Errorf("no product is named %q: see cardbureau profile list", c.Product)
	}
	if g.JSON {
		return json.NewEncoder(os.Stdout).Encode(set.Describe(p))
	}
	fmt.Println(strings.Join(set.Describe(p), "\n"))
	return nil
}
