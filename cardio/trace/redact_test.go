package trace

import (
	"bytes"
	"context"
	"encoding/hex"
	"strings"
	"testing"

	"cardbureau/cardio/apdu"
)

// answers is a card that gives each answer in turn.
type answers struct{ list []string }

func (a *answers) Transmit(context.Context, []byte) ([]byte, error) {
	next := a.list[0]
	a.list = a.list[1:]
	if next == "gone" {
		return nil, nil
	}
	return hex.DecodeString(next)
}

// traced sends commands and returns the events.
func traced(t testing.TB, exchanges ...string) []Event {
	t.Helper()
	card := &answers{}
	var out bytes.Buffer
	c, err := New(card, []byte{0x3B, 0x00}, &out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range exchanges {
		command, answer, _ := strings.Cut(strings.ReplaceAll(x, " ", ""), ">")
		card.list = append(card.list, answer)
		raw, err := hex.DecodeString(command)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Transmit(context.Background(), raw)
	}
	return events(t, out.Bytes())
}

func events(t testing.TB, b []byte) (out []Event) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for range bytes.Count(b, []byte("\n")) - 1 {
		e, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// shown writes parts as hexadecimal, with #n for n bytes that are not shown.
func shown(p Parts) string {
	var s strings.Builder
	for _, one := range p {
		if one.Hex != "" {
			s.WriteString(strings.ToLower(one.Hex))
			continue
		}
		s.WriteString("#")
		s.WriteString(hex.EncodeToString([]byte{byte(one.Length)}))
	}
	return s.String()
}

const (
	cplcValue  = "4790 0421 4051 1234 0200 3322 01020304 0505 " + "4812 3333 4812 3334 4813 3335 06060606 4814 3336 07070707"
	recognized = "66 14 73 12 06 07 2a864886fc6b01 60 07 06 05 2b85100203"
)

func TestAllowList(t *testing.T) {
	for name, test := range map[string]struct {
		before          []string
		exchange        string
		command, answer string
	}{
		"select by AID":                      {nil, "00a4040008a00000015100000000 > 6f108408a000000151000000a5049f6501ff9000", "a000000151000000", "6f108408a000000151000000a5049f6501ff"},
		"select, life cycle data":            {nil, "00a40400 00 > 6f12 8408a000000151000000 a506 9f6e03010203 9000", "", "6f128408a000000151000000a506#06"},
		"select by a long name":              {nil, "00a4040011a000000151000000000000000000000000 > 9000", "#11", ""},
		"select a file":                      {nil, "00a4020c02011c > 9000", "011c", ""},
		"select, answer of a file":           {nil, "00a4000402 3f00 00> 62038201 389000", "3f00", "#05"},
		"CPLC":                               {nil, "80ca9f7f00 > 9f7f2a" + cplcValue + "9000", "", "9f7f2a47900421405112340200#08#18"},
		"CPLC, bare":                         {nil, "80ca9f7f00 >" + cplcValue + "9000", "", "47900421405112340200#08#18"},
		"CPLC of another length":             {nil, "80ca9f7f00 > 9f7f0247909000", "", "#05"},
		"card recognition":                   {nil, "80ca006600 > " + recognized + "9000", "", strings.ReplaceAll(recognized, " ", "")},
		"recognition, not TLV":               {nil, "80ca006600 > 0102039000", "", "#03"},
		"card image number":                  {nil, "80ca004500 > 4503010203 9000", "", "#05"},
		"key information":                    {nil, "80ca00e000 > e006c00401308810 9000", "", "e006c00401308810"},
		"key information on another channel": {[]string{"01a4040000 > 9000"}, "81ca00e000 > e006c00401308810 9000", "", "e006c00401308810"},
		"any other object":                   {nil, "00ca006200 > 62020102 9000", "", "#04"},
		"initialize update":                  {nil, "8050300008 0102030405060708 00 > 000102030405060708093003700a0b0c0d0e0f1011121314151617181900 00019000", "0102030405060708", "#0a3003700a0b0c0d0e0f101112131415161718190000 01"},
		"initialize for load":                {nil, "805000020b 0102030405060708090a0b 10 > 0102039000", "#0b", "#03"},
		"external authenticate, alone":       {nil, "8482330010 000102030405060708090a0b0c0d0e0f > 9000", "#10", ""},
		"external authenticate": {
			[]string{"8050300008 0102030405060708 00 > 000102030405060708093003700a0b0c0d0e0f1011121314151617181900 00019000"},
			"8482330010 000102030405060708090a0b0c0d0e0f > 9000", "000102030405060708090a0b0c0d0e0f", "",
		},
		"external authenticate after GET RESPONSE": {
			[]string{"8050300008 0102030405060708 > 611d", "00c000001d > 000102030405060708093003700a0b0c0d0e0f1011121314151617181900 00019000"},
			"8482330010 000102030405060708090a0b0c0d0e0f > 9000", "000102030405060708090a0b0c0d0e0f", "",
		},
		"external authenticate of BAC": {
			[]string{"8050300008 0102030405060708 00 > 000102030405060708093003700a0b0c0d0e0f1011121314151617181900 00019000"},
			"0082000028 " + strings.Repeat("11", 40) + "28 >" + strings.Repeat("22", 40) + "9000", "#28", "#28",
		},
		"GET RESPONSE of CPLC":          {[]string{"80ca9f7f00 > 612d"}, "00c000002d > 9f7f2a" + cplcValue + "9000", "", "9f7f2a47900421405112340200#08#18"},
		"GET RESPONSE in two":           {[]string{"80ca9f7f00 > 9f7f2a 612a"}, "00c000002a > " + cplcValue + "9000", "", "#2a"},
		"GET RESPONSE, corrected":       {[]string{"80ca9f7f00 > 6100", "00c0000000>6c2d"}, "00c000002d > 9f7f2a" + cplcValue + "9000", "", "9f7f2a47900421405112340200#08#18"},
		"GET RESPONSE of a secret":      {[]string{"00b0000000 > 6103"}, "00c0000003 > 0102039000", "", "#03"},
		"GET RESPONSE, other channel":   {[]string{"80ca00e000 > 6106"}, "01c0000006 > e006c00401308810 9000", "", "#08"},
		"GET RESPONSE alone":            {nil, "00c0000003 > 0102039000", "", "#03"},
		"get status":                    {nil, "80f24002024f00 00> e3124f07a00000024710019f70010fc503000000 9000", "4f00", "e3124f07a00000024710019f70010fc503000000"},
		"get status, old form":          {nil, "80f24000024f00 00> 07a00000024710010f00 9000", "4f00", "07a00000024710010f00"},
		"get status, load files":        {nil, "80f21000024f00 00> 06a000000247100100 01 07a0000002471001 9000", "4f00", "06a00000024710010001 07a0000002471001"},
		"get status, what is none":      {nil, "80f24000024f00 00> 050102030405 9000", "4f00", "#06"},
		"get status, unknown tag":       {nil, "80f24002024f00 00> e3094f05a000000247 5a 00 9000", "4f00", "e3094f05a000000247#02"},
		"install for load":              {nil, "80e602001d 06a00000024710 08a000000151000000 00 0a ef08c6020000c8020000 00 00> 009000", "06a0000002471008a000000151000000000a#0a00", "#01"},
		"install for install":           {nil, "80e60c001f 06a00000024710 07a0000002471001 07a0000002471001 0100 04 c9021234 00 00> 9000", "06a0000002471007a000000247100107a0000002471001010004#0400", ""},
		"install, wrong length":         {nil, "80e60c0003 060102 > 6a80", "#03", ""},
		"install for personalization":   {nil, "80e620000d 0000 07a0000002471001 000000 00> 009000", "000007a0000002471001000000", "#01"},
		"load":                          {nil, "80e8000004c4820100 > 9000", "#04", ""},
		"delete":                        {nil, "80e4000007 4f05a000000247 00> 009000", "4f05a000000247", "#01"},
		"delete with a token":           {nil, "80e400000b 4f05a0000002479e021234 00> 009000", "4f05a000000247#04", "#01"},
		"set status":                    {nil, "80f0408005a000000247 > 9000", "a000000247", ""},
		"manage channel":                {nil, "0070000001 > 019000", "", "01"},
		"verify":                        {nil, "0020000104 31323334 > 9000", "#04", ""},
		"change reference data":         {nil, "0024000108 3132333435363738 > 9000", "#08", ""},
		"reset retry counter":           {nil, "002c000108 3132333435363738 > 9000", "#08", ""},
		"put key":                       {nil, "80d8000104 01020304 > 9000", "#04", ""},
		"put data of the JMRTD dialect": {nil, "00da006204 61020102 > 9000", "#04", ""},
		"store data":                    {nil, "80e2800004 01010161 > 9000", "#04", ""},
		"read binary":                   {nil, "00b0000000 > 0102 9000", "", "#02"},
		"update binary":                 {nil, "00d60000020102 > 9000", "#02", ""},
		"general authenticate":          {nil, "00860000027c0000 > 7c0280009000", "#02", "#04"},
		"get challenge":                 {nil, "0084000008 > 01020304050607089000", "", "#08"},
		"inside secure messaging":       {nil, "84f2400202 4f00 00 > e3024f009000", "#02", "#04"},
		"secured, on channel 5":         {nil, "e1a4040005 a000000247 > 9000", "#05", ""},
		"chained":                       {nil, "10a4040005 a000000247 > 9000", "#05", ""},
		"the reader's own class":        {nil, "ffca000000 > 01020304 9000", "", "#04"},
		"no command":                    {nil, "00a4 > 6700", "#02", ""},
		"wrong length":                  {nil, "00a4040005a0 > 6700", "#06", ""},
	} {
		t.Run(name, func(t *testing.T) {
			list := traced(t, append(append([]string{selected}, test.before...), test.exchange)...)
			e := list[len(list)-1]
			if got := shown(e.Data); got != strings.ReplaceAll(test.command, " ", "") {
				t.Errorf("command shows %s, want %s", got, test.command)
			}
			if got := shown(e.Response); got != strings.ReplaceAll(test.answer, " ", "") {
				t.Errorf("answer shows %s, want %s", got, test.answer)
			}
		})
	}
}

// selected has a security domain answer to what follows.
const selected = "00a4040000 > 9000"

// TestOtherApplicationsAreHidden: an application's own commands may look like those
// of GlobalPlatform, and mean something else.
func TestOtherApplicationsAreHidden(t *testing.T) {
	for name, exchange := range map[string]string{
		"key": "8050000010 c0ffee00c0ffee00c0ffee00c0ffee00 > 9000", "PIN": "80f0800006 343832393133 > 9000",
		"PIN in 4F": "80e400000a 4f08 3438323931333333 > 9000", "get data": "00ca9f7f00 > 343832393133343832393133 9000",
	} {
		for where, before := range map[string][]string{
			"an applet": {selected, "00a4040007a0000002471001 > 9000"}, "after a reset": nil, "another channel": {selected, "0070000001 > 019000"},
		} {
			e := traced(t, append(before, exchange)...)
			last := e[len(e)-1]
			for _, secret := range []string{"c0ffee", "343832"} {
				if strings.Contains(shown(last.Data)+shown(last.Response), secret) {
					t.Errorf("%s, %s: %s %s", name, where, shown(last.Data), shown(last.Response))
				}
			}
		}
	}
}

// TestDigests: equal data of one card has equal digests, of two cards not, and
// no line says under which key.
func TestDigests(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	verify := []byte{0x00, 0x20, 0, 1, 4, '1', '2', '3', '4'}
	for range 2 {
		card := w.Card(&answers{list: []string{"9000", "9000"}}, nil)
		for range 2 {
			if _, err := card.Transmit(t.Context(), verify); err != nil {
				t.Fatal(err)
			}
		}
	}
	list := events(t, out.Bytes())
	of := func(i int) string { return list[i].Data[0].Digest }
	if of(1) != of(2) || of(4) != of(5) || of(1) == of(4) {
		t.Errorf("digests %s %s, %s %s", of(1), of(2), of(4), of(5))
	}
}

func TestAnswersThatAreMissing(t *testing.T) {
	list := traced(t, "00b0000000>gone")
	if e := list[1]; e.Error != InDoubt || e.SW != "" {
		t.Errorf("%+v", e)
	}
	var out bytes.Buffer
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	c, err := New(refusing{}, nil, &out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Transmit(cancelled, []byte{0, 0xB0, 0, 0}); err == nil {
		t.Error("an error was swallowed")
	}
	if e := events(t, out.Bytes())[1]; e.Error != NotSent {
		t.Errorf("%+v", e)
	}
}

type refusing struct{}

func (refusing) Transmit(ctx context.Context, _ []byte) ([]byte, error) { return nil, ctx.Err() }

// TestDevelopmentOnly: what could undo the redaction has to be asked for.
func TestDevelopmentOnly(t *testing.T) {
	for _, o := range []Options{{Full: true}, {Key: []byte{1}}} {
		if _, err := NewWriter(&bytes.Buffer{}, o); err != ErrDevelopment {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// failing takes no more than a few writes.
type failing struct{ left int }

func (f *failing) Write(b []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, bytes.ErrTooLarge
	}
	return len(b), nil
}

// TestFullDisk: the card goes on when the trace cannot.
func TestFullDisk(t *testing.T) {
	c, err := New(&answers{list: []string{"9000", "9000"}}, nil, &failing{left: 2}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r, err := apdu.Send(t.Context(), c, apdu.Command{INS: 0xB0, Ne: 1})
		if err != nil || !r.SW.OK() {
			t.Errorf("%v %v", r, err)
		}
	}
	if c.Err() == nil {
		t.Error("nothing is said of the lost lines")
	}
}
