package cap

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"
)

// MaxFile and MaxUnpacked bound the bytes of a file and of all its components
// together. A component ends at 64 KiB but for those that the extended format
// gives a longer size.
const (
	MaxFile     = 4 << 20
	MaxUnpacked = 2 << 20

	maxShort   = 3 + 0xFFFF // tag, size of 2 bytes, content
	maxEntries = 1024       // of a JAR
)

// Read reads a CAP file, as a JAR or as components one after another, which it
// tells apart by the first bytes. The errors are ErrMalformed, ErrUnsupported
// and ErrTooLarge, each with what is wrong where.
func Read(b []byte) (*File, error) {
	if len(b) > MaxFile {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(b), MaxFile)
	}
	if bytes.HasPrefix(b, []byte("PK\x03\x04")) {
		return readJAR(b)
	}
	return readIJC(b)
}

// readJAR takes the files PACKAGE/javacard/NAME.cap. Everything else in a JAR,
// such as its manifest, class and export files, is not for the card.
func readJAR(b []byte) (*File, error) {
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("%w: ZIP: %w", ErrMalformed, err)
	}
	if len(r.File) > maxEntries {
		return nil, fmt.Errorf("%w: a ZIP of %d files", ErrTooLarge, len(r.File))
	}
	type entry struct {
		path, name string // name without its ending
		content    []byte
	}
	var entries []entry
	var header []byte
	folder, total := "", 0
	for _, e := range r.File {
		dir, name := path.Split(e.Name)
		ending := strings.ToLower(path.Ext(name))
		if ending != ".cap" && ending != ".capx" {
			continue
		}
		if folder == "" {
			folder = dir
		}
		if dir != folder {
			return nil, fmt.Errorf("%w: components in %q and in %q", ErrMalformed, folder, dir)
		}
		if path.Base(dir) != "javacard" {
			return nil, fmt.Errorf("%w: %q is in no folder javacard", ErrMalformed, e.Name)
		}
		most := maxShort
		if ending == ".capx" {
			most = MaxUnpacked
		}
		c, err := unpack(e, most)
		if err != nil {
			return nil, err
		}
		if total += len(c); total > MaxUnpacked {
			return nil, fmt.Errorf("%w: more than %d bytes of components", ErrTooLarge, MaxUnpacked)
		}
		one := entry{e.Name, name[:len(name)-len(ending)], c}
		if strings.EqualFold(one.name, names[Header]) {
			header = c
		}
		entries = append(entries, one)
	}
	components, extended := map[Tag][]byte{}, isExtended(header)
	for _, e := range entries {
		t, rest, err := next(e.content, extended)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", e.path, err)
		}
		if len(rest) != 0 {
			return nil, fmt.Errorf("%w: %q has %d bytes after its component", ErrMalformed, e.path, len(rest))
		}
		if want, ok := names[t]; ok && !strings.EqualFold(e.name, want) {
			return nil, fmt.Errorf("%w: %q holds the component %v", ErrMalformed, e.path, t)
		}
		if components[t] != nil {
			return nil, fmt.Errorf("%w: %v is there twice", ErrMalformed, t)
		}
		components[t] = e.content
	}
	return parse(components)
}

// isExtended reads the flag of the extended format from a Header component; a
// Header that is none is judged later.
func isExtended(header []byte) bool { return len(header) > 9 && header[9]&accExtended != 0 }

// wide reports whether a component's size has 4 bytes instead of 2.
func wide(t Tag, extended bool) bool {
	switch t {
	case StaticResources:
		return true
	case Method, RefLocation, Descriptor, Debug:
		return extended
	}
	return extended && t >= firstCustom
}

// headerSize is how many bytes come before a component's content.
func headerSize(t Tag, extended bool) int {
	if wide(t, extended) {
		return 5
	}
	return 3
}

// unpack reads one file of a JAR, whatever size its entry claims.
func unpack(e *zip.File, most int) ([]byte, error) {
	r, err := e.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: ZIP: %q: %w", ErrMalformed, e.Name, err)
	}
	defer func() { _ = r.Close() }()
	c, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err != nil {
		return nil, fmt.Errorf("%w: ZIP: %q: %w", ErrMalformed, e.Name, err)
	}
	if len(c) > most {
		return nil, fmt.Errorf("%w: %q has more than %d bytes", ErrTooLarge, e.Name, most)
	}
	return c, nil
}

// readIJC takes components in the order in which a card does. Debug, which no
// card takes, and custom components may stand anywhere after the Directory.
func readIJC(b []byte) (*File, error) {
	if len(b) > MaxUnpacked {
		return nil, fmt.Errorf("%w: %d bytes of components, at most %d", ErrTooLarge, len(b), MaxUnpacked)
	}
	b = bytes.Clone(b)
	components, place := map[Tag][]byte{}, 0
	extended := isExtended(b)
	for len(b) > 0 {
		t, rest, err := next(b, extended)
		if err != nil {
			return nil, err
		}
		if components[t] != nil {
			return nil, fmt.Errorf("%w: %v is there twice", ErrMalformed, t)
		}
		if at := orderOf(t); at >= 0 {
			if at < place {
				return nil, fmt.Errorf("%w: %v after %v", ErrMalformed, t, loadOrder[place])
			}
			place = at
		} else if place < 1 {
			return nil, fmt.Errorf("%w: %v before the Directory", ErrMalformed, t)
		}
		n := len(b) - len(rest)
		components[t] = b[:n:n]
		b = rest
	}
	return parse(components)
}

func orderOf(t Tag) int {
	for i, o := range loadOrder {
		if o == t {
			return i
		}
	}
	return -1
}

// next finds the end of the component at the start of b.
func next(b []byte, extended bool) (Tag, []byte, error) {
	if len(b) == 0 {
		return 0, nil, fmt.Errorf("%w: a component of 0 bytes", ErrMalformed)
	}
	t := Tag(b[0])
	start := headerSize(t, extended)
	if len(b) < start {
		return 0, nil, fmt.Errorf("%w: a component of %d bytes", ErrMalformed, len(b))
	}
	if _, known := names[t]; !known && t < firstCustom {
		return 0, nil, fmt.Errorf("%w: component tag %d", ErrUnsupported, b[0])
	}
	var said uint64
	for _, c := range b[1:start] {
		said = said<<8 | uint64(c)
	}
	if said > uint64(len(b)-start) {
		return 0, nil, fmt.Errorf("%w: %v says %d bytes, %d are there", ErrMalformed, t, said, len(b)-start)
	}
	return t, b[start+int(said):], nil
}

// errCut is turned into ErrMalformed with the component's name by cursor.end.
var errCut = errors.New("it is cut off")

// cursor reads the fields of one component. After the first failure it gives
// zeros; end tells.
type cursor struct {
	tag Tag
	b   []byte
	err error
}

func (c *cursor) take(n int) []byte {
	if c.err != nil || n > len(c.b) {
		c.fail(errCut)
		return make([]byte, min(n, 1<<16))
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *cursor) u1() byte { return c.take(1)[0] }
func (c *cursor) u2() int  { return int(binary.BigEndian.Uint16(c.take(2))) }
func (c *cursor) u4() int  { return int(binary.BigEndian.Uint32(c.take(4))) }

// size reads a component's size as wide as the component writes it.
func (c *cursor) size(wide bool) int {
	if wide {
		return c.u4()
	}
	return c.u2()
}

func (c *cursor) aid() []byte {
	n := int(c.u1())
	if c.err == nil && (n < 5 || n > 16) {
		c.fail(fmt.Errorf("an AID of %d bytes", n))
	}
	return c.take(n)
}

// name is a package's name, which is UTF-8.
func (c *cursor) name() string {
	b := c.take(int(c.u1()))
	if c.err == nil && !utf8.Valid(b) {
		c.fail(errors.New("a package name that is no UTF-8"))
	}
	return string(b)
}

func (c *cursor) version() Version {
	minor := c.u1()
	return Version{Major: c.u1(), Minor: minor}
}

func (c *cursor) pkg() Package {
	v := c.version()
	return Package{Version: v, AID: c.aid()}
}

// end says what went wrong, bytes left over included.
func (c *cursor) end() error {
	if c.err == nil && len(c.b) != 0 {
		c.fail(fmt.Errorf("%d bytes too many", len(c.b)))
	}
	if c.err != nil {
		return fmt.Errorf("%w: %v: %w", ErrMalformed, c.tag, c.err)
	}
	return nil
}
