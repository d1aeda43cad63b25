package dev

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/bazbeans/bazbeans/pool"
)

func samplePicture(width, height int) *picture {
	return &picture{width: width, height: height, url: "http://127.0.0.1:8080/", log: "/tmp/bbdev-1/bbdev.log",
		try: []string{"bin/bbctl freeze web2 --wait", "bin/bbctl unfreeze web2"}, keys: "q quits"}
}

func TestPicture(t *testing.T) {
	v := sample()
	v.nodes[1].state, v.nodes[1].why, v.nodes[1].rate = pool.Frozen, "by ann@box: kernel update", 0
	v.nodes[0].rate = 188
	v.nodes[2].killed, v.nodes[2].expires, v.nodes[2].rate = true, noon.Add(2100*time.Millisecond), 12
	last := &applied{at: noon.Add(-3 * time.Second), change: "-web2", text: "in 120 ms (step verify)"}
	news := []told{{noon.Add(-3 * time.Second), "web2 frozen by ann@box: kernel update"}, {noon, "web3 killed"}}
	got := strings.Join(samplePicture(80, 24).draw(v, last, news), "\n") + "\n"
	const golden = "testdata/picture.txt"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the picture is\n%s\nwant\n%s", got, want)
	}
}

func TestPictureColours(t *testing.T) {
	p := samplePicture(80, 24)
	plain := strings.Join(p.draw(sample(), &applied{}, nil), "\n")
	if strings.Contains(plain, "\x1b") {
		t.Errorf("colours that nobody asked for: %q", plain)
	}
	p.colour = true
	coloured := strings.Join(p.draw(sample(), &applied{}, nil), "\n")
	if !strings.Contains(coloured, "\x1b[32mactive\x1b[0m") {
		t.Errorf("no colours: %q", coloured)
	}
	if got := sgr.ReplaceAllString(coloured, ""); got != plain {
		t.Errorf("but for its colours the picture is\n%s\nwant\n%s", got, plain)
	}
}

var sgr = regexp.MustCompile(`\x1b\[[0-9]+m`)

// Whatever it has to show and however small the terminal is, nothing stands beyond its edge.
func TestPictureFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := samplePicture(rapid.IntRange(1, 150).Draw(t, "width"), rapid.IntRange(1, 60).Draw(t, "height"))
		p.colour = rapid.Bool().Draw(t, "colour")
		v := sample()
		v.nodes = nil
		for i := range rapid.IntRange(1, 40).Draw(t, "nodes") {
			v.nodes = append(v.nodes, nodeView{id: fmt.Sprintf("web%d", i+1), addr: "127.0.1.1:8000",
				state: rapid.SampledFrom([]pool.State{"", pool.Active, pool.Frozen, pool.Dead}).Draw(t, "state"),
				why:   rapid.String().Draw(t, "why"), rate: rapid.Float64Range(0, 1e5).Draw(t, "rate"),
				killed: rapid.Bool().Draw(t, "killed"), held: rapid.Bool().Draw(t, "held")})
		}
		news := make([]told, rapid.IntRange(0, 40).Draw(t, "news"))
		lines := p.draw(v, &applied{}, news)
		if len(lines) > p.height {
			t.Fatalf("%d lines on a terminal of %d", len(lines), p.height)
		}
		for _, l := range lines {
			l = sgr.ReplaceAllString(l, "")
			if n := utf8.RuneCountInString(l); n > p.width {
				t.Fatalf("%d cells on a terminal of %d: %q", n, p.width, l)
			}
			if strings.ContainsAny(l, "\x1b\n\r") {
				t.Fatalf("foreign text moves the cursor: %q", l)
			}
		}
		if p.width >= 10 && p.height >= len(v.nodes)+1+6 && !strings.Contains(strings.Join(lines, "\n"), v.nodes[len(v.nodes)-1].id) {
			t.Fatal("the last node is missing though there is room")
		}
	})
}

func TestBar(t *testing.T) {
	for _, c := range []struct {
		rate, full float64
		width      int
		want       string
	}{
		{0, 100, 10, ""}, {100, 100, 4, "████"}, {50, 100, 4, "██"}, {31.25, 100, 4, "█▎"}, {1, 0, 4, ""}, {50, 100, 0, ""}, {50, 100, -3, ""},
	} {
		if got := bar(c.rate, c.full, c.width); got != c.want {
			t.Errorf("%g of %g on %d cells: %q, want %q", c.rate, c.full, c.width, got, c.want)
		}
	}
}
