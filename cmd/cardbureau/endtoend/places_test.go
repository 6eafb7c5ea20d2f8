package endtoend

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"cardbureau/cardio/virtual"
	"cardbureau/cardio/virtual/nvm"
)

// chip is what a software card holds.
type chip struct {
	can    string
	values map[string][]byte
}

// read opens the memory of a card that is in no reader.
func (s *secrets) read(path string) chip {
	s.t.Helper()
	m, err := nvm.Open(path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer m.Close()
	c := chip{values: map[string][]byte{}}
	for name, space := range map[string]nvm.Space{"manager": m.Space("chip"), "application": m.Space("app:" + virtual.LDSAID)} {
		for _, prefix := range []string{"key/", "ef/"} {
			for _, key := range space.Keys(prefix) {
				c.values[name+" "+key] = bytes.Clone(space.Get(key))
			}
		}
	}
	c.can = string(c.values["application key/8003"])
	return c
}

func (s *secrets) files(dir string) (n int, paths []string) {
	s.t.Helper()
	paths, err := filepath.Glob(filepath.Join(s.dir, filepath.FromSlash(dir), "*.card"))
	if err != nil || len(paths) == 0 {
		s.t.Fatalf("no cards in %s: %v", dir, err)
	}
	return len(paths), paths
}

// chips makes the secrets of every card needles. There must be as many as least.
func (s *secrets) chips(least int) {
	t, n := s.t, s.needles
	_, paths := s.files("virtual/*")
	made := 0
	for _, path := range paths {
		for name, v := range s.read(path).values {
			switch {
			case strings.HasPrefix(name, "manager key/"):
				// An entry of the key set: three AES keys behind each other, each
				// with what precedes it.
				for at := 0; at+16 <= len(v); at++ {
					n.value("card key", v[at:at+16])
				}
			case name == "application key/8001":
				n.value("BAC key", v[:16])
				n.value("BAC key", v[16:])
			case name == "application key/8002":
				n.value("PACE key", v)
			case name == "application key/8003":
				n.number("CAN", string(v))
				s.can = string(v)
				made++
			case name == "application key/8004":
				n.value("chip private key", v)
			case name == "application key/8005":
				n.number("transport PIN", string(v[3:]))
			case name == "application key/8006":
				n.number("PUK", string(v[3:]))
			case name == "application ef/0101":
				mrz := v[len(v)-90:]
				for i := range 3 {
					n.text("MRZ", string(mrz[30*i:30*i+30]))
				}
			case name == "application ef/0102":
				n.photo("photo on a card", v)
			}
		}
	}
	if made < least {
		t.Fatalf("%d cards were found", made)
	}
	for _, kind := range []string{"card key", "BAC key", "PACE key", "CAN", "chip private key", "transport PIN", "PUK", "MRZ", "photo on a card"} {
		if !n.kinds[kind] {
			t.Errorf("no %s was found in the chips", kind)
		}
	}
}

// everything searches all places and says what was found where.
func (s *secrets) everything(db *database) (found []string) {
	s.t.Helper()
	report := func(place string, b []byte) {
		for _, kind := range s.needles.search(b) {
			found = append(found, kind+" in "+place)
		}
	}
	report("output", s.log.Bytes())
	tables := db.texts(`SELECT table_schema || '.' || table_name FROM information_schema.tables
		WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'`)
	if len(tables) < 15 {
		s.t.Fatalf("tables: %v", tables)
	}
	for _, table := range tables {
		schema, name, _ := strings.Cut(table, ".")
		report("table "+table, []byte(strings.Join(db.texts("SELECT t::text FROM "+pgx.Identifier{schema, name}.Sanitize()+" t"), "\n")))
	}
	s.checkpoint(db)
	n := 0
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return ignoreGone(err)
		}
		name, _ := filepath.Rel(s.dir, path)
		if d.IsDir() {
			if name == "virtual" || name == "softhsm" {
				return fs.SkipDir
			}
			return nil
		}
		for _, own := range s.own {
			if path == own {
				return nil
			}
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return ignoreGone(err)
		}
		n += len(b)
		report("file "+name, b)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if n < 30<<20 {
		s.t.Errorf("only %d bytes of files were searched", n)
	}
	return found
}

// ignoreGone lets files disappear that PostgreSQL removes meanwhile.
func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// checkpoint has PostgreSQL write its tables' files.
func (s *secrets) checkpoint(db *database) {
	s.t.Helper()
	c := db.conn.Config().Copy()
	c.User, c.Database = "postgres", "postgres"
	conn, err := pgx.ConnectConfig(s.t.Context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(s.t.Context(), "CHECKPOINT"); err != nil {
		s.t.Fatal(err)
	}
}
