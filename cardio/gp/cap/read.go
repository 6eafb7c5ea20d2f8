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
)

// MaxFile and MaxUnpacked bound the bytes of a file and of all its components
// together. The compact format ends at 64 KiB a component.
const (
	MaxFile     = 4 << 20
	MaxUnpacked = 2 << 20

	maxComponent = 3 + 0xFFFF // tag, size, content
	maxEntries   = 1024       // of a JAR
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
	components, folder, total := map[Tag][]byte{}, "", 0
	for _, e := range r.File {
		dir, name := path.Split(e.Name)
		if strings.HasSuffix(strings.ToLower(name), ".capx") {
			return nil, fmt.Errorf("%w: %q is a component of the extended format", ErrUnsupported, e.Name)
		}
		if !strings.HasSuffix(strings.ToLower(name), ".cap") {
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
		c, err := unpack(e)
		if err != nil {
			return nil, err
		}
		if total += len(c); total > MaxUnpacked {
			return nil, fmt.Errorf("%w: more than %d bytes of components", ErrTooLarge, MaxUnpacked)
		}
		t, rest, err := next(c)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", e.Name, err)
		}
		if len(rest) != 0 {
			return nil, fmt.Errorf("%w: %q has %d bytes after its component", ErrMalformed, e.Name, len(rest))
		}
		if want, ok := names[t]; ok && !strings.EqualFold(name, want+".cap") {
			return nil, fmt.Errorf("%w: %q holds the component %v", ErrMalformed, e.Name, t)
		}
		if components[t] != nil {
			return nil, fmt.Errorf("%w: %v is there twice", ErrMalformed, t)
		}
		components[t] = c
	}
	return parse(components)
}

// unpack reads one file of a JAR, whatever size its entry claims.
func unpack(e *zip.File) ([]byte, error) {
	r, err := e.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: ZIP: %q: %w", ErrMalformed, e.Name, err)
	}
	defer func() { _ = r.Close() }()
	c, err := io.ReadAll(io.LimitReader(r, maxComponent+1))
	if err != nil {
		return nil, fmt.Errorf("%w: ZIP: %q: %w", ErrMalformed, e.Name, err)
	}
	if len(c) > maxComponent {
		return nil, fmt.Errorf("%w: %q has more than %d bytes", ErrTooLarge, e.Name, maxComponent)
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
	for len(b) > 0 {
		t, rest, err := next(b)
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
func next(b []byte) (Tag, []byte, error) {
	if len(b) < 3 {
		return 0, nil, fmt.Errorf("%w: a component of %d bytes", ErrMalformed, len(b))
	}
	t := Tag(b[0])
	if _, known := names[t]; !known && t < firstCustom {
		return 0, nil, fmt.Errorf("%w: component tag %d", ErrUnsupported, b[0])
	}
	n := 3 + int(binary.BigEndian.Uint16(b[1:]))
	if n > len(b) {
		return 0, nil, fmt.Errorf("%w: %v says %d bytes, %d are there", ErrMalformed, t, n-3, len(b)-3)
	}
	return t, b[n:], nil
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
		return make([]byte, n)
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

func (c *cursor) aid() []byte {
	n := int(c.u1())
	if c.err == nil && (n < 5 || n > 16) {
		c.fail(fmt.Errorf("an AID of %d bytes", n))
	}
	return c.take(n)
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
