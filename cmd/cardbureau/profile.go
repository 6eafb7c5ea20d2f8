package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	profiles "cardbureau/firmware-profiles"
	"cardbureau/personalization/bureau"
	"cardbureau/personalization/profile"
)

type profileCommand struct {
	List   profileList   `cmd:"" help:"List the chips, diversifications, applets, payment schemes and products that are known."`
	Check  profileCheck  `cmd:"" help:"Check profiles; every mistake is told with file, line and column."`
	Show   profileShow   `cmd:"" help:"Say in plain words what a product does to a card."`
	Sign   profileSign   `cmd:"" help:"Sign the profiles in use, as a custodian."`
	Schema profileSchema `cmd:"" help:"Print the JSON Schema of the profile language, for editors."`
}

// loadProfiles reads the shipped profiles and the data folder's own, if there
// is a data folder.
func loadProfiles(g *globals) (*profile.Set, error) {
	sources, err := profileSources(g)
	if err != nil {
		return nil, err
	}
	return profile.Load(sources...)
}

func profileSources(g *globals) ([]fs.FS, error) {
	sources := []fs.FS{profiles.FS}
	if _, err := os.Stat(filepath.Join(g.Data, bureau.ConfigName)); err != nil {
		return sources, nil // no data folder: the shipped ones
	}
	cfg, err := bureau.LoadConfig(g.Data)
	if err != nil {
		return nil, err
	}
	if cfg.Profiles.Folder != "" {
		folder := cfg.Profiles.Folder
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(g.Data, folder)
		}
		if _, err := os.Stat(folder); err != nil {
			return nil, fmt.Errorf("[profiles] folder: %w", err)
		}
		sources = append(sources, os.DirFS(folder))
	}
	return sources, nil
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
	for _, d := range set.Diversifications {
		rows = append(rows, row{"diversification", d.Name, d.Title})
	}
	for _, a := range set.Applets {
		rows = append(rows, row{"applet", a.Name, a.Title})
	}
	for _, p := range set.Payments {
		rows = append(rows, row{"payment", p.Name, p.Title})
	}
	for _, k := range set.SIMs {
		rows = append(rows, row{"sim", k.Name, k.Title})
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
		fmt.Printf("%-15s %-22s %s\n", r.Kind, r.Name, r.Title)
	}
	return nil
}

type profileCheck struct {
	Path string `arg:"" optional:"" help:"One profile, or a folder with chips/, diversifications/, applets/, payments/, products/ and sims/; it is checked together with the profiles in use." type:"path"`
}

func (profileCheck) Example() string { return "cardbureau profile check my-profiles/chips/acme.yaml" }

func (c profileCheck) Run(g *globals) error {
	sources, err := profileSources(g)
	if err != nil {
		return err
	}
	only := ""
	if c.Path != "" {
		var f fs.FS
		f, only, err = profile.Overlay(c.Path)
		if err != nil {
			return &exitError{exitUsage, err.Error()}
		}
		sources = append(sources, f)
	}
	set, err := profile.Load(sources...)
	var mistakes profile.Problems
	if errors.As(err, &mistakes) {
		// Those of the one file that was asked for; where it has none, its
		// neighbours' are in its way.
		if own := slices.DeleteFunc(slices.Clone(mistakes), func(p profile.Problem) bool { return p.File != only }); only != "" && len(own) > 0 {
			mistakes = own
		}
		if g.JSON {
			if err := printJSON(map[string]any{"mistakes": mistakes}); err != nil {
				return err
			}
		} else {
			for _, m := range mistakes {
				fmt.Fprintln(os.Stderr, m)
			}
		}
		return &exitError{exitFailed, counted(len(mistakes), "mistake") + " in the profiles"}
	}
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(map[string]int{"chips": len(set.Chips), "diversifications": len(set.Diversifications), "applets": len(set.Applets), "payments": len(set.Payments), "products": len(set.Products)})
	}
	fmt.Printf("%s, %s, %s, %s and %s are in order\n", counted(len(set.Chips), "chip"), counted(len(set.Diversifications), "diversification"),
		counted(len(set.Applets), "applet"), counted(len(set.Payments), "payment scheme"), counted(len(set.Products), "product"))
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
