package endtoend

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cardbureau/cardio/virtual/pcscd"
	"cardbureau/cardio/virtual/rack"
)

// folders are where processes of a data folder work: the folder, and the
// private one of its PC/SC daemon.
func folders(t testing.TB, dir string) []string {
	t.Helper()
	out := []string{dir}
	if r, err := pcscd.ReadReaders(filepath.Join(dir, "run")); err == nil {
		out = append(out, filepath.Dir(filepath.Dir(r.Socket)))
	}
	return out
}

// sockets is the folder of the database's socket, which postmaster.pid names.
func sockets(t testing.TB, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "postgres", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	if len(lines) < 5 || !strings.HasPrefix(filepath.Base(lines[4]), "cb-") {
		t.Fatalf("postmaster.pid: %q", lines)
	}
	return lines[4]
}

// gone checks that nothing runs and nothing lies about any more.
func gone(t testing.TB, folders []string, temporary ...string) {
	t.Helper()
	if left := users(folders...); len(left) > 0 {
		t.Errorf("left over: %+v", left)
	}
	for _, f := range temporary {
		if _, err := os.Stat(f); err == nil {
			t.Errorf("%s is left over", f)
		}
	}
}

// TestKillEverything kills every process that an operator started, in the
// middle of cards: the readers, the API server and the line. PostgreSQL goes on
// alone; PC/SC daemon and HSM agents end with who started them. The next start
// takes over what runs, clears away what lies about, and makes the cards that
// are not in doubt; when the last one leaves, nothing runs.
func TestKillEverything(t *testing.T) {
	h := newHouse(t, 12)
	readers, r := h.readers(2)
	serve := h.start("serve", "--listen", "127.0.0.1:0", "--json")
	serve.ready()
	k := &killing{house: h, t: t, rack: r, db: h.database()}
	issue := k.inHand([]string{h.file(5), "--json"}, point{40, false}, point{70, true})
	k.db.close()
	all := folders(t, h.dir)
	socket := sockets(t, h.dir)
	var agents []string // folders of their sockets
	for _, p := range users(h.dir) {
		if _, rest, ok := strings.Cut(p.command, "--socket "); ok {
			name, _, _ := strings.Cut(rest, " ")
			agents = append(agents, filepath.Dir(name))
		}
	}
	if len(agents) != 2 {
		t.Errorf("agents have sockets in %v", agents)
	}
	for _, p := range []*process{readers, serve, issue} {
		p.kill()
		h.keep(p)
	}
	// What ends by itself: all but PostgreSQL.
	eventually(t, "PC/SC daemon and agents end with their parents", func() bool {
		for _, p := range users(all...) {
			if !strings.HasPrefix(p.folder, filepath.Join(h.dir, "postgres")) {
				return false
			}
		}
		return true
	})
	if len(users(all...)) == 0 {
		t.Error("PostgreSQL ended too: nothing is left to take over")
	}

	// The stock is counted with no reader there; the books know of both cards.
	c := h.count()
	if c.Counts.InDoubt != 2 || c.Counts.OnHand != 10 {
		t.Errorf("after the kill: %+v", c.Counts)
	}
	gone(t, all, socket)

	// New readers find both cards still in their slots.
	readers, r = h.readers(2)
	gone(t, nil, all[1])
	for _, s := range h.order(r, rack.Request{Op: "status"}).Slots {
		if s.Card == "" {
			t.Errorf("slot %d is empty", s.Slot)
		}
	}
	if done := h.issue(nil, 0, 4); done.Issued != 3 {
		t.Errorf("of three orders: %+v", done)
	}
	if c := h.count(); c.Counts.InDoubt != 2 || c.Counts.Issued != 3 {
		t.Errorf("at the end: %+v", c.Counts)
	}
	all = append(all, folders(t, h.dir)...)
	readers.stop()
	h.keep(readers)
	gone(t, all, append(agents, all[len(all)-1])...)
}

// demo starts a demo in a folder of its own.
func demo(t testing.TB, dir, records string) *process {
	t.Helper()
	return launch(t, nil, program, "demo", "--dir", dir, "--records", records)
}

func demoFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cb-demo-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// atWork waits until a demo makes cards, and returns where its processes work
// and what it has in the temporary folder.
func atWork(t testing.TB, p *process, dir string) (all, temporary []string) {
	t.Helper()
	eventually(t, "the demo makes cards", func() bool {
		select {
		case <-p.done:
			t.Fatalf("the demo ended with %d\n%s", p.status, p.stderr.String())
		default:
		}
		r, err := pcscd.ReadReaders(filepath.Join(dir, "run"))
		if err != nil || len(r.Readers) == 0 || r.Readers[0].Control == "" {
			return false
		}
		a, err := rack.Client{Socket: r.Readers[0].Control}.Do(t.Context(), rack.Request{Op: "status"})
		return err == nil && a.Cards[rack.Issued] > 0
	})
	all = folders(t, dir)
	return all, []string{sockets(t, dir), all[1]}
}

// TestKillDemo kills the demo alone, while all that it started runs, and starts
// it again at once in the same folder.
func TestKillDemo(t *testing.T) {
	dir := demoFolder(t)
	p := demo(t, dir, "12")
	all, temporary := atWork(t, p, dir)
	p.kill()
	again(t, dir, all, temporary)
}

// TestKillDemoEarly kills it while the folder is being made.
func TestKillDemoEarly(t *testing.T) {
	dir := demoFolder(t)
	for _, made := range []string{"cardbureau.toml", "softhsm/complete", "postgres.new-*", "postgres/postmaster.pid", "virtual/blanks"} {
		p := demo(t, dir, "2")
		eventually(t, made+" is made", func() bool {
			found, _ := filepath.Glob(filepath.Join(dir, made))
			return len(found) > 0
		})
		p.kill()
	}
	again(t, dir, []string{dir}, nil)
}

// again runs a demo where one was killed: it must do all its work, and leave
// nothing behind.
func again(t testing.TB, dir string, all, temporary []string) {
	t.Helper()
	p := demo(t, dir, "4")
	if status := p.wait(); status != 0 {
		t.Fatalf("the next demo ended with %d\n%s", status, p.stderr.String())
	}
	lines := strings.Split(strings.TrimSpace(p.stdout.String()), "\n")
	var sum struct{ Records, Issued, Proven, BlanksUsed, InDoubt int }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &sum); err != nil || sum.Proven != 4 || sum.BlanksUsed != 4 {
		t.Errorf("%v: %s", err, lines[len(lines)-1])
	}
	gone(t, all, temporary...)
}

// TestInterruptDemo presses Ctrl-C, which a terminal sends to every process in
// the foreground.
func TestInterruptDemo(t *testing.T) {
	dir := demoFolder(t)
	p := demo(t, dir, "24")
	all, temporary := atWork(t, p, dir)
	if err := syscall.Kill(-p.pid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if status := p.wait(); status != 1 {
		t.Errorf("the demo ended with %d\n%s", status, p.stderr.String())
	}
	gone(t, all, temporary...)
	h := &house{t: t, dir: dir}
	if c := h.count(); c.Counts.InUse+c.Counts.InDoubt != 0 {
		t.Errorf("a card in hand was not finished: %+v", c.Counts)
	}
	gone(t, all)
}
