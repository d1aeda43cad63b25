package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// TestRun measures a small site with the real binary. It asserts no speed.
func TestRun(t *testing.T) {
	lbd := filepath.Join(serverstest.Dir(t), "lbd")
	if said, err := exec.Command("go", "build", "-o", lbd, "github.com/bazbeans/bazbeans/cmd/lbd").CombinedOutput(); err != nil {
		t.Fatalf("build lbd: %v\n%s", err, said)
	}
	small := func(dir string) options {
		return options{Cycles: 2, Live: 4, Rate: 300, Conns: 8, Nodes: 3, Post: 0.5, lbd: lbd, haproxy: "haproxy", out: dir, perTurn: 1, only: []string{laneFloor, laneLBD}}
	}
	t.Run("whole", func(t *testing.T) {
		t.Parallel()
		o := small(t.TempDir())
		o.only = []string{laneFloor, laneLBD, laneLua, laneResolve, laneHAProxy}
		res, err := measure(t.Context(), o, t.Output())
		if err != nil {
			t.Fatal(err)
		}
		if res.Interrupted || len(res.Contenders) != 5 || len(res.Against) != 4 {
			t.Fatalf("%+v", res)
		}
		for _, out := range res.Contenders {
			cycles := o.Cycles
			switch out.Name {
			case laneLua, laneHAProxy:
				cycles = o.Live
			case laneResolve:
				cycles = 2 * o.Cycles
			}
			checkOutcome(t, out, cycles, o.Cycles)
		}
		for _, v := range res.Verdicts {
			if v.Bound == 0 && !v.Met { // no count of failures depends on how busy the machine is
				t.Errorf("%s: %s: %v", v.Of, v.What, v.Figure)
			}
		}
		checkFiles(t, res, o)
	})
	t.Run("parts", func(t *testing.T) {
		t.Parallel()
		o := small(t.TempDir())
		o.only = []string{partThroughput, partPeers, partUpdates}
		o.Pairs, o.WrkFor, o.Pushes, o.wrk = 1, 1, leastPushes, "wrk"
		res, err := measure(t.Context(), o, t.Output())
		if err != nil {
			t.Fatal(err)
		}
		checkParts(t, res, o)
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		o := small(t.TempDir())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		res, err := measure(ctx, o, &tripwire{Writer: t.Output(), text: "turn 2 of 2: floor", act: cancel})
		if err != nil {
			t.Fatal(err)
		}
		if !res.Interrupted {
			t.Error("it does not say that it was interrupted")
		}
		checkOutcome(t, res.Contenders[0], 2, 2)
		checkOutcome(t, res.Contenders[1], 1, 2)
		checkFiles(t, res, o)
	})
	t.Run("interrupted too early", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, err := measure(ctx, small(t.TempDir()), &tripwire{Writer: t.Output(), text: "turn 1 of 2: floor", act: cancel})
		if err == nil || !strings.Contains(err.Error(), "stopped before lbd had finished a cycle") {
			t.Errorf("error %v", err)
		}
	})
}

// checkOutcome looks for figures that cannot be, and for requests that were lost from the count.
func checkOutcome(t *testing.T, out *outcome, cycles, turns int) {
	t.Helper()
	if out.Cycles != cycles || len(out.Samples) != cycles || len(out.Errors) > 0 {
		t.Errorf("%s: %d cycles, errors %q, want %d and none", out.Name, len(out.Samples), out.Errors, cycles)
	}
	for _, s := range out.Samples {
		// A live engine may be so quick that the node gets nothing after the write.
		if s.Drain < 0 || s.Drain == 0 && out.Replaced > 0 || s.Drain > ms(within) || s.Back <= 0 || s.Back > ms(within) {
			t.Errorf("%s: cycle %+v cannot be", out.Name, s)
		}
	}
	if out.Drain.P50 > out.Drain.Max || out.Back.P50 <= 0 || out.Back.P50 > out.Back.Max {
		t.Errorf("%s: spreads %v %v", out.Name, out.Drain, out.Back)
	}
	get, post := out.Requests.Get, out.Requests.Post
	if get.Sent == 0 || get.OK+get.Failed != get.Sent || post.Sent == 0 || post.OK+post.Failed != post.Sent || post.Repeated != 0 {
		t.Errorf("%s: requests %+v do not add up", out.Name, out.Requests)
	}
	var sent, failed int64
	for _, turn := range out.Turns {
		sent += turn.Sent
	}
	for _, n := range out.Requests.ByReason {
		failed += n
	}
	if len(out.Turns) != turns || sent != get.Sent+post.Sent || failed != get.Failed+post.Failed {
		t.Errorf("%s: %d turns with %d requests, %d failed for a reason; requests %+v", out.Name, len(out.Turns), sent, failed, out.Requests)
	}
	if (out.Name == laneFloor) == (out.Process != nil && out.Process.CPU >= 0 && out.Process.RSS > 1) {
		t.Errorf("%s: process %+v", out.Name, out.Process)
	}
	if out.Front.CPU <= 0 || out.Front.RSS < 1 {
		t.Errorf("%s: front %+v", out.Name, out.Front)
	}
	if reloads := out.Name == laneFloor || out.Name == laneLBD; reloads != (out.Replaced > 0) {
		t.Errorf("%s: %d processes replaced", out.Name, out.Replaced)
	}
	if tells := len(out.Steps) >= 2 && out.Steps[0].Mean > 0; tells == (out.Name == laneHAProxy) {
		t.Errorf("%s: steps %v", out.Name, out.Steps)
	}
}

// checkParts looks for figures that cannot be.
func checkParts(t *testing.T, res *results, o options) {
	t.Helper()
	if len(res.Parts.Throughput) != len(answers) {
		t.Errorf("throughput of %d answers", len(res.Parts.Throughput))
	}
	for _, u := range res.Parts.Throughput {
		if len(u.Live) != 1 || len(u.Fixed) != 1 || len(u.Bare) != 1 || u.Live[0].Rate < 100 || u.Bare[0].Rate < 100 ||
			u.Rate.Value <= 0 || u.CPU.Value <= 0 || u.BareRate.Value <= 0 || u.BareCPU.Value <= 0 {
			t.Errorf("throughput %+v", u)
		}
	}
	if u := res.Parts.Updates; u == nil || u.Large.P50 <= 0 || u.First.P50 <= u.Large.P50 || len(u.Memory) != memoryLooks || u.Memory[0] < 1 ||
		u.Sent == 0 || u.Failed != 0 || u.Workers != 0 {
		t.Errorf("updates %+v", u)
	}
	if len(res.Parts.Peers) != 4 {
		t.Errorf("%d pairs of few and many peers", len(res.Parts.Peers))
	}
	for _, p := range res.Parts.Peers {
		if len(p.Few) != 1 || len(p.Many) != 1 || p.Few[0].CPU <= 0 || p.Many[0].CPU <= 0 || p.CPU.Value <= 0 {
			t.Errorf("peers %+v", p)
		}
	}
	if len(res.Contenders) != 0 || len(res.Verdicts) != 8 {
		t.Errorf("not what was asked for: %+v", res)
	}
	var table bytes.Buffer
	if err := errors.Join(res.save(o.out), res.writeTable(&table)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the least Lua code", "Update of 1000 peers", "200 updates", "≥ 0.97"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in the table:\n%s", want, &table)
		}
	}
}

// checkFiles reads what a run leaves behind.
func checkFiles(t *testing.T, res *results, o options) {
	t.Helper()
	if err := res.save(o.out); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(jsonFile(o.out))
	if err != nil {
		t.Fatal(err)
	}
	var back results
	if err := json.Unmarshal(text, &back); err != nil || len(back.Contenders) != len(res.Contenders) || back.Contenders[0].Server == "" {
		t.Errorf("JSON: %v\n%s", err, text)
	}
	picture, err := os.Open(svgFile(o.out))
	if err != nil {
		t.Fatal(err)
	}
	defer picture.Close()
	for in := xml.NewDecoder(picture); ; {
		if _, err := in.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("SVG: %v", err)
		}
	}
	var table bytes.Buffer
	if err := res.writeTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"drain p50", "lbd / floor", "repeated", res.Contenders[0].Server, "Steps of lbd"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in the table:\n%s", want, &table)
		}
	}
	if strings.Contains(table.String(), "Interrupted") != res.Interrupted {
		t.Errorf("interrupted is %v, the table says:\n%s", res.Interrupted, &table)
	}
}

func TestDaemonThatEndsAtOnce(t *testing.T) {
	d, err := startDaemon(t.TempDir(), "sh", "-c", "echo out of luck; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	never := func() error { return errors.New("not yet") }
	if err := d.awaitReady(t.Context(), never); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("error %v, want how it ended and its log", err)
	}
	if err := d.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestMainFailsWithoutASite(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if code := run(ctx, []string{"--lbd", "sh", "--out", t.TempDir()}, nil, &out, &out); code != cli.Failed {
		t.Errorf("exit code %d: %s", code, &out)
	}
}

// tripwire acts once a text passes it.
type tripwire struct {
	io.Writer
	text string
	act  func()
	once sync.Once
}

func (w *tripwire) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(w.text)) {
		w.once.Do(w.act)
	}
	return w.Writer.Write(p)
}
