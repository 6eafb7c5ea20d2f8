package main

import (
	"fmt"
	"html"
	"strings"
	"unicode/utf8"
)

// screen is as much of a terminal as the program uses: text that wraps, line
// ends, "cursor up" and "erase below" (ECMA-48, 8.3.22 and 8.3.39).
type screen struct {
	cells    [][]rune
	row, col int
	rest     []byte // the beginning of a character or sequence that is not whole
	redrawn  func() // called before the cursor goes up: a frame is complete
}

func newScreen() *screen { return &screen{cells: [][]rune{nil}} }

func (s *screen) write(b []byte) {
	b = append(s.rest, b...)
	for len(b) > 0 {
		n := 1
		switch c := b[0]; {
		case c == '\n':
			s.row++
		case c == '\r':
			s.col = 0
		case c == 0x1b:
			if n = s.sequence(b); n == 0 {
				s.rest = append([]byte(nil), b...)
				return
			}
		case c >= ' ':
			if !utf8.FullRune(b) {
				s.rest = append([]byte(nil), b...)
				return
			}
			var r rune
			r, n = utf8.DecodeRune(b)
			s.put(r)
		}
		b = b[n:]
		for s.row >= len(s.cells) {
			s.cells = append(s.cells, nil)
		}
	}
	s.rest = nil
}

func (s *screen) put(r rune) {
	if s.col == columns {
		s.row, s.col = s.row+1, 0
	}
	for s.row >= len(s.cells) {
		s.cells = append(s.cells, nil)
	}
	for len(s.cells[s.row]) <= s.col {
		s.cells[s.row] = append(s.cells[s.row], ' ')
	}
	s.cells[s.row][s.col] = r
	s.col++
}

// sequence obeys ESC [ N LETTER and returns its length, 0 when it is cut off.
func (s *screen) sequence(b []byte) int {
	for i := 2; i < len(b); i++ {
		if b[i] >= 0x40 && b[i] <= 0x7e {
			n := 1
			_, _ = fmt.Sscanf(string(b[2:i]), "%d", &n)
			switch b[i] {
			case 'A':
				s.redrawn()
				s.row = max(0, s.row-n)
			case 'J':
				s.cells = s.cells[:s.row+1]
				s.cells[s.row] = s.cells[s.row][:min(s.col, len(s.cells[s.row]))]
			}
			return i + 1
		}
	}
	return 0
}

func (s *screen) shows(text string) bool {
	for _, row := range s.cells {
		if strings.Contains(string(row), text) {
			return true
		}
	}
	return false
}

// lines is what stands on the screen from the first row that begins with the
// text.
func (s *screen) lines(from string) (out []string) {
	for _, row := range s.cells {
		text := strings.TrimRight(string(row), " ")
		if out != nil || strings.HasPrefix(text, from) {
			out = append(out, text)
		}
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// Sizes of the picture, in its own units.
const (
	cellWidth  = 8.4
	lineHeight = 18
	margin     = 16
	gap        = 20
)

// draw draws each panel as a window of a terminal.
func draw(panels ...[]string) string {
	var b strings.Builder
	width := columns*cellWidth + 2*margin
	height := -gap
	for _, p := range panels {
		height += len(p)*lineHeight + 2*margin + gap
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" width="%.0f" height="%d" font-family="ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace" font-size="14">`+"\n",
		width, height, width, height)
	y := 0
	for _, p := range panels {
		h := len(p)*lineHeight + 2*margin
		fmt.Fprintf(&b, `<rect x="0" y="%d" width="%.0f" height="%d" rx="8" fill="#14181f"/>`+"\n", y, width, h)
		for i, text := range p {
			if text == "" {
				continue
			}
			// The length of each line is given, so that columns stay columns in any font.
			fmt.Fprintf(&b, `<text xml:space="preserve" x="%d" y="%d" textLength="%.1f" fill="#d7dde5">%s</text>`+"\n",
				margin, y+margin+(i+1)*lineHeight-5, float64(utf8.RuneCountInString(text))*cellWidth, html.EscapeString(text))
		}
		y += h + gap
	}
	b.WriteString("</svg>\n")
	return b.String()
}
