package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"cardbureau/personalization/stock"

	"github.com/google/uuid"
)

// child is this binary run again, to be killed. It says what it did on its
// standard output and then waits for the end.
func child(what string) {
	ctx := context.Background()
	fail := func(err error) {
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	switch what {
	case "claim":
		s, err := Open(ctx, os.Getenv("STORE_TEST_URL"), Options{})
		fail(err)
		id, err := s.Actor(ctx, "station", "line")
		fail(err)
		st, err := s.OpenStation(ctx, "line", Actor{ID: id, Through: "test"})
		fail(err)
		c, err := st.Claim(ctx, ClaimRequest{Serial: os.Getenv("STORE_TEST_SERIAL"), Reader: "reader 0", Products: []string{"id"}})
		fail(err)
		fail(st.Journal(ctx, c.AttemptID, c.Fence, []Step{{Seq: 1, Name: "store-files", Event: StepIntent}}))
		fmt.Println(c.AttemptID, c.Fence, c.Order.ID)
	case "cluster":
		c, err := StartCluster(ctx, ClusterOptions{Dir: os.Getenv("STORE_TEST_DIR")})
		fail(err)
		fmt.Println(c.PID())
	case "job":
		s, err := Open(ctx, os.Getenv("STORE_TEST_URL"), Options{})
		fail(err)
		id, err := s.Actor(ctx, "program", "jobs")
		fail(err)
		_, err = s.StartJobs(ctx, JobOptions{Actor: Actor{ID: id, Through: "test"}, Workers: 1,
			Prepare: func(ctx context.Context, order uuid.UUID) error {
				fmt.Println(order)
				select {}
			}})
		fail(err)
	}
	select {}
}

// spawn starts a child and returns the first line it says, and how to kill it.
func spawn(t *testing.T, what string, env ...string) (line string, kill func()) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), "STORE_TEST_CHILD="+what), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dead := false
	kill = func() {
		if !dead {
			dead = true
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(kill)
	line, err = bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error") {
		t.Fatalf("child %s: %s %v", what, line, err)
	}
	return strings.TrimSpace(line), kill
}

func itoa(n any) string { return fmt.Sprint(n) }

func TestKilledLine(t *testing.T) {
	b := newBench(t)
	b.blanks(2)
	b.released(1, 2)
	line, kill := spawn(t, "claim", "STORE_TEST_URL="+b.url, "STORE_TEST_SERIAL="+serial(0))
	var attempt, order uuid.UUID
	var fence int64
	var a, o string
	if _, err := fmt.Sscan(line, &a, &fence, &o); err != nil {
		t.Fatal(err)
	}
	attempt, order = uuid.MustParse(a), uuid.MustParse(o)

	// Alive, it is left alone, however often others come and go.
	b.must(b.station().Close(b.ctx))
	if c := b.balanced(); c.InUse != 1 || c.InDoubt != 0 || b.state(order) != OrderInProgress {
		t.Fatalf("a living process was declared dead: %+v", c)
	}
	kill()
	if c := b.balanced(); c.InDoubt != 1 || c.InUse != 0 || c.OnHand != 1 { // counting finds it at once
		t.Fatalf("counts after kill -9: %+v", c)
	}
	doubts, err := b.InDoubt(b.ctx)
	b.must(err)
	if len(doubts) != 1 || doubts[0].AttemptID != attempt || doubts[0].Serial != serial(0) || doubts[0].Reason != "abandoned" ||
		doubts[0].LastStep != "store-files intent" || doubts[0].Station != "line" {
		t.Fatalf("in doubt: %+v", doubts)
	}

	st := b.station()
	second := b.claim(st, 1) // other orders go on
	if second.Order.ID == order {
		t.Fatal("the order in doubt was given out on another blank")
	}
	var not *ErrBlankNotOnHand
	if _, err := st.Claim(b.ctx, ClaimRequest{Serial: serial(0), Products: []string{"id"}}); !errors.As(err, &not) ||
		not.State != stock.InDoubt || not.Attempt != attempt {
		t.Fatalf("claiming the blank in doubt: %v", err)
	}

	resumed, err := st.Resume(b.ctx, serial(0), "reader 1")
	b.must(err)
	if !resumed.Resumed || resumed.Order.ID != order || resumed.Fence <= fence || len(resumed.Steps) != 1 || resumed.Steps[0].Name != "store-files" {
		t.Fatalf("resumed: %+v", resumed)
	}
	late := FinishRequest{AttemptID: attempt, Fence: fence, Outcome: OutcomeIssued}
	if err := st.Finish(b.ctx, late); !errors.Is(err, ErrFenced) {
		t.Fatalf("the dead process's outcome: %v", err)
	}
	if err := st.Journal(b.ctx, attempt, fence, []Step{{Seq: 2, Name: "late", Event: StepDone}}); !errors.Is(err, ErrFenced) {
		t.Fatalf("the dead process's journal: %v", err)
	}
	b.must(st.Finish(b.ctx, finish(resumed, OutcomeIssued)))
	b.must(st.Finish(b.ctx, finish(second, OutcomeIssued)))
	if c := b.balanced(); c.Issued != 2 {
		t.Fatalf("counts: %+v", c)
	}
	if doubts, _ := b.InDoubt(b.ctx); len(doubts) != 0 {
		t.Fatalf("still in doubt: %+v", doubts)
	}
}

// TestKilledLineBlankFirst presents the blank of a dead process before anybody
// has looked for dead processes.
func TestKilledLineBlankFirst(t *testing.T) {
	b := newBench(t)
	b.blanks(1)
	b.released(1, 2)
	st := b.station()
	_, kill := spawn(t, "claim", "STORE_TEST_URL="+b.url, "STORE_TEST_SERIAL="+serial(0))
	var not *ErrBlankNotOnHand
	if _, err := st.Resume(b.ctx, serial(0), "reader 0"); !errors.As(err, &not) || not.State != stock.InUse {
		t.Fatalf("the attempt of a living process was taken over: %v", err)
	}
	kill()
	// Only the server knows when it has noticed; waiting for the lock is waiting for that.
	_, err := b.line.Exec(b.ctx, "SELECT pg_advisory_xact_lock(station_class(), max(id)) FROM station_session")
	b.must(err)
	if _, err := st.Claim(b.ctx, ClaimRequest{Serial: serial(0), Products: []string{"id"}}); !errors.As(err, &not) || not.State != stock.InDoubt {
		t.Fatalf("claim: %v", err)
	}
	c, err := st.Resume(b.ctx, serial(0), "reader 0")
	b.must(err)
	b.must(st.Finish(b.ctx, finish(c, OutcomeInDoubt)))
	b.balanced()

	doubts, err := b.InDoubt(b.ctx)
	b.must(err)
	if len(doubts) != 1 || doubts[0].AttemptID != c.AttemptID {
		t.Fatalf("in doubt: %+v", doubts)
	}
	settle := Settlement{AttemptID: c.AttemptID, To: stock.Spoiled, Reason: "destroyed", Approvers: [2]Actor{b.ali, b.ali}}
	if err := b.SettleInDoubt(b.ctx, settle); !errors.Is(err, ErrTwoPeople) {
		t.Fatalf("one person settled: %v", err)
	}
	settle.Approvers[1] = b.zahra
	b.must(b.SettleInDoubt(b.ctx, settle))
	if err := b.SettleInDoubt(b.ctx, settle); !errors.Is(err, ErrWrongState) {
		t.Fatalf("settled twice: %v", err)
	}
	if b.state(c.Order.ID) != OrderAccepted || b.blankState(0) != stock.Spoiled {
		t.Fatal("settling left order or blank behind")
	}
	if im := b.prepare(c.Order.ID); im.Version != 2 || b.state(c.Order.ID) != OrderReleased {
		t.Fatalf("the new image: %+v, order %s", im, b.state(c.Order.ID))
	}
	b.balanced()
}
