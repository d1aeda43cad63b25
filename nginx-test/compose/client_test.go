package main

import (
	"bufio"
	"encoding/json"
	"io"
	"testing"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

func TestTheClientTellsItsCountsUntilItIsToldToEnd(t *testing.T) {
	b, err := load.Listen("127.0.0.1:0", "node1")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	lines, commands := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- sendTraffic(t.Context(), "http://"+b.Addr()+"/", lines, out) }()

	reader := bufio.NewScanner(answers)
	next := func(into any) {
		t.Helper()
		if !reader.Scan() {
			t.Fatal(reader.Err())
		}
		if err := json.Unmarshal(reader.Bytes(), into); err != nil {
			t.Fatal(err)
		}
	}
	serverstest.Eventually(t, soon, func() error {
		var c load.Counts
		if _, err := io.WriteString(commands, "\n"); err != nil {
			return err
		}
		next(&c)
		return answered(c, "node1")
	})
	commands.Close()
	var f figures
	next(&f)
	if f.OK == 0 || f.OK != f.Sent || f.ByNode["node1"] != f.OK || f.Slowest <= 0 {
		t.Errorf("%+v", f)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAnswered(t *testing.T) {
	got := load.Counts{ByNode: map[string]int64{"node1": 3, "node3": 1}}
	for _, want := range [][]string{{"node1"}, {"node1", "node2", "node3"}, {}} {
		if answered(got, want...) == nil {
			t.Errorf("node1 and node3 answered; %q were wanted", want)
		}
	}
	if err := answered(got, "node1", "node3"); err != nil {
		t.Error(err)
	}
}
