package sample

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
)

// Width and height in pixels of a portrait: 35 × 45 mm at 300 dpi.
const (
	Width  = 413
	Height = 531
)

// Portrait draws a face on a light ground and returns it as baseline JPEG of
// Width × Height pixels and about 12 to 18 KB. Every draw from rnd gives another
// face.
func Portrait(rnd *rand.Rand, sex string, age int) []byte {
	p := painter{img: image.NewRGBA(image.Rect(0, 0, Width, Height))}
	p.face(newFace(rnd, sex, age))
	p.grain(rnd)
	var b bytes.Buffer
	for quality := 86; ; quality -= 4 {
		b.Reset()
		if err := jpeg.Encode(&b, p.img, &jpeg.Options{Quality: quality}); err != nil {
			panic(fmt.Sprintf("sample: encode a portrait: %v", err)) // a buffer takes everything
		}
		if b.Len() <= 18<<10 || quality < 40 {
			return b.Bytes()
		}
	}
}

// face is how one drawn person looks. Lengths are in pixels.
type face struct {
	ground, skin, hair, cloth, scarf, iris color.RGBA

	cx, cy, rx, ry float64 // head
	eye, gap       float64 // size of an eye, distance of its centre from the middle
	nose, mouth    float64
	brow           float64
	covered        bool // headscarf
	beard, glasses bool
}

func newFace(rnd *rand.Rand, sex string, age int) face {
	around := func(mid, spread float64) float64 { return mid + (rnd.Float64()*2-1)*spread }
	shade := func(base color.RGBA, spread float64) color.RGBA {
		d := around(0, spread)
		return color.RGBA{level(float64(base.R) + d), level(float64(base.G) + d*0.9), level(float64(base.B) + d*0.8), 255}
	}
	f := face{
		ground: shade(color.RGBA{214, 222, 232, 255}, 14),
		skin:   shade(color.RGBA{208, 164, 132, 255}, 28),
		hair:   shade(color.RGBA{46, 36, 30, 255}, 24),
		cloth:  color.RGBA{uint8(40 + rnd.IntN(130)), uint8(40 + rnd.IntN(110)), uint8(50 + rnd.IntN(130)), 255},
		scarf:  color.RGBA{uint8(60 + rnd.IntN(170)), uint8(50 + rnd.IntN(150)), uint8(60 + rnd.IntN(160)), 255},
		iris:   shade(color.RGBA{84, 60, 40, 255}, 26),
		cx:     around(Width/2, 6), cy: around(252, 8), rx: around(92, 8), ry: around(122, 9),
		eye: around(15, 2), gap: around(39, 4), nose: around(34, 6), mouth: around(31, 5), brow: around(5, 1.6),
		covered: sex == "F" && age >= 9,
		beard:   sex == "M" && age >= 25 && rnd.IntN(3) > 0,
		glasses: age >= 12 && rnd.IntN(4) == 0,
	}
	if age < 14 { // a rounder head and larger eyes
		f.ry -= 14
		f.eye += 3
		f.nose -= 9
	}
	if age > 55 {
		f.hair = shade(color.RGBA{150, 148, 146, 255}, 20)
	}
	return f
}

func (p *painter) face(f face) {
	dark := func(c color.RGBA, by float64) color.RGBA {
		return color.RGBA{level(float64(c.R) * by), level(float64(c.G) * by), level(float64(c.B) * by), 255}
	}
	p.fill(f.ground)
	p.ellipse(f.cx, Height+70, 205, 190, f.cloth)                // shoulders
	p.ellipse(f.cx, f.cy+f.ry+6, 46, 74, dark(f.skin, 0.86))     // neck
	p.ellipse(f.cx, f.cy+f.ry+78, 62, 22, dark(f.cloth, 0.8))    // collar
	p.ellipse(f.cx, f.cy-14, f.rx+13, f.ry+16, dark(f.hair, 1))  // hair behind the head
	p.ellipse(f.cx-f.rx, f.cy+4, 12, 25, dark(f.skin, 0.92))     // ears
	p.ellipse(f.cx+f.rx, f.cy+4, 12, 25, dark(f.skin, 0.92))     //
	p.shaded(f.cx, f.cy, f.rx, f.ry, f.skin)                     // head
	p.arc(f.cx, f.cy-f.ry*0.5, f.rx*1.02, f.ry*0.58, f.hair, -1) // hairline
	for _, side := range []float64{-1, 1} {
		x, y := f.cx+side*f.gap, f.cy-10
		p.ellipse(x, y, f.eye*1.25, f.eye*0.66, color.RGBA{244, 242, 238, 255})
		p.ellipse(x, y, f.eye*0.58, f.eye*0.58, f.iris)
		p.ellipse(x, y, f.eye*0.27, f.eye*0.27, color.RGBA{14, 12, 10, 255})
		p.ellipse(x-3, y-3, 2, 2, color.RGBA{255, 255, 255, 255})
		p.ellipse(x, y-f.eye*1.7, f.eye*1.5, f.brow, dark(f.hair, 1))
	}
	p.ellipse(f.cx-1, f.cy+f.nose*0.5, 7, f.nose*0.8, dark(f.skin, 0.93))
	p.ellipse(f.cx-9, f.cy+f.nose+6, 4, 3, dark(f.skin, 0.6))
	p.ellipse(f.cx+9, f.cy+f.nose+6, 4, 3, dark(f.skin, 0.6))
	if f.beard {
		p.arc(f.cx, f.cy+f.ry*0.52, f.rx*0.86, f.ry*0.56, dark(f.hair, 1.1), 1)
	}
	p.ellipse(f.cx, f.cy+f.ry*0.58, f.mouth, 8, color.RGBA{166, 92, 84, 255})
	p.ellipse(f.cx, f.cy+f.ry*0.58, f.mouth*0.9, 1.6, color.RGBA{104, 52, 50, 255})
	if f.covered {
		p.ring(f.cx, f.cy+4, f.rx*0.93, f.ry*0.97, f.rx+52, f.ry+58, f.scarf)
		p.ellipse(f.cx, f.cy+f.ry+92, 118, 62, dark(f.scarf, 0.9))
	}
	if f.glasses {
		for _, side := range []float64{-1, 1} {
			p.ring(f.cx+side*f.gap, f.cy-9, 27, 20, 31, 24, color.RGBA{32, 32, 36, 255})
		}
		p.ellipse(f.cx, f.cy-11, 11, 2, color.RGBA{32, 32, 36, 255})
	}
}

// painter draws shapes with soft edges.
type painter struct{ img *image.RGBA }

func (p *painter) fill(c color.RGBA) {
	for y := range Height {
		fade := 1.04 - 0.12*float64(y)/Height
		row := p.img.Pix[y*p.img.Stride:]
		for x := range Width {
			row[4*x], row[4*x+1], row[4*x+2], row[4*x+3] = level(float64(c.R)*fade), level(float64(c.G)*fade), level(float64(c.B)*fade), 255
		}
	}
}

// within calls paint for every pixel of the box around an ellipse, with the
// pixel's distance from the centre (1 on the edge) and its share inside.
func within(cx, cy, rx, ry float64, paint func(x, y int, d, inside float64)) {
	edge := math.Min(rx, ry)
	for y := max(0, int(cy-ry-1)); y <= min(Height-1, int(cy+ry+1)); y++ {
		dy := (float64(y) - cy) / ry
		for x := max(0, int(cx-rx-1)); x <= min(Width-1, int(cx+rx+1)); x++ {
			dx := (float64(x) - cx) / rx
			d := math.Sqrt(dx*dx + dy*dy)
			if in := (1-d)*edge + 0.5; in > 0 {
				paint(x, y, d, math.Min(in, 1))
			}
		}
	}
}

func (p *painter) blend(x, y int, c color.RGBA, share float64) {
	px := p.img.Pix[y*p.img.Stride+4*x:]
	for i, v := range [3]uint8{c.R, c.G, c.B} {
		px[i] = level(float64(px[i]) + (float64(v)-float64(px[i]))*share)
	}
}

func (p *painter) ellipse(cx, cy, rx, ry float64, c color.RGBA) {
	within(cx, cy, rx, ry, func(x, y int, _, in float64) { p.blend(x, y, c, in) })
}

// shaded is an ellipse that darkens towards its edge, as a head does.
func (p *painter) shaded(cx, cy, rx, ry float64, c color.RGBA) {
	within(cx, cy, rx, ry, func(x, y int, d, in float64) {
		s := 1.05 - 0.22*d*d
		p.blend(x, y, color.RGBA{level(float64(c.R) * s), level(float64(c.G) * s), level(float64(c.B) * s), 255}, in)
	})
}

// arc is the upper (side -1) or lower (side 1) half of an ellipse, with its
// straight edge hollowed out.
func (p *painter) arc(cx, cy, rx, ry float64, c color.RGBA, side float64) {
	within(cx, cy, rx, ry, func(x, y int, _, in float64) {
		dx := (float64(x) - cx) / rx
		over := (float64(y)-cy)*side + (dx*dx-0.35)*ry*0.5
		if over > 0 {
			p.blend(x, y, c, in*math.Min(1, over/6))
		}
	})
}

// ring fills between an inner and an outer ellipse.
func (p *painter) ring(cx, cy, rx, ry, outerX, outerY float64, c color.RGBA) {
	edge := math.Min(rx, ry)
	within(cx, cy, outerX, outerY, func(x, y int, d, in float64) {
		dx, dy := (float64(x)-cx)/rx, (float64(y)-cy)/ry
		hole := (math.Sqrt(dx*dx+dy*dy)-1)*edge + 0.5
		if hole <= 0 {
			return
		}
		s := 1.04 - 0.2*d
		p.blend(x, y, color.RGBA{level(float64(c.R) * s), level(float64(c.G) * s), level(float64(c.B) * s), 255}, in*math.Min(hole, 1))
	})
}

// grain adds the noise of a camera, which gives the file its usual length.
func (p *painter) grain(rnd *rand.Rand) {
	var bits uint64
	for i := 0; i < len(p.img.Pix); i += 4 {
		if i%64 == 0 {
			bits = rnd.Uint64()
		}
		n := int(bits&7) - 3
		bits >>= 4
		for c := range 3 {
			p.img.Pix[i+c] = uint8(max(0, min(255, int(p.img.Pix[i+c])+n)))
		}
	}
}

func level(v float64) uint8 { return uint8(max(0, min(255, v))) }
