package nginx

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/bazbeans/bazbeans/step"
)

func TestShape(t *testing.T) {
	const base = "upstream a { zone a 64k; server 127.0.0.1:1; } # x\nmap $a $b { default 1; }"
	for _, tc := range []struct {
		text string
		same bool
	}{
		{"upstream a {\n server 127.0.0.2:1 down; zone a 64k; keepalive 3; } map $a $b { default 1; }", true},
		{"upstream a { zone a 65k; server 127.0.0.1:1; } map $a $b { default 1; }", false},
		{"upstream b { zone a 64k; server 127.0.0.1:1; } map $a $b { default 1; }", false},
		{"upstream a { zone a 64k; server 127.0.0.1:1; } map $a $b { default 2; }", false},
		{"upstream a { zone a 64k; include x; } map $a $b { default 1; }", false},
		{"upstream a {", false},
	} {
		o := &output{exists: true, live: []byte(base), File: File{Data: []byte(tc.text)}}
		if got := o.settled(); got != tc.same {
			t.Errorf("%q: settled %v", tc.text, got)
		}
	}
	if (&output{File: File{Data: []byte(base)}}).settled() {
		t.Error("a new file is settled")
	}
}

func TestSeveralOutputs(t *testing.T) {
	s := running(t)
	path := func(name string) string { return filepath.Join(s.dir, "conf.d", name) }
	files := []File{
		{Path: s.out, Data: gen("g1")},
		{Path: path("a.conf"), Data: []byte("upstream a { server 127.0.0.1:9; }\n")},
		{Path: path("b.conf"), Data: []byte("upstream b { server 127.0.0.1:9; }\n")},
	}
	if out := s.apply(files...); !out.Running || out.Workers != 2 {
		t.Errorf("outcome %+v", out)
	}
	s.serves("g1")
	for _, f := range files {
		s.holds("conf.d/"+filepath.Base(f.Path), f.Data)
	}
	// One bad file keeps all of them out.
	bad := []File{{Path: s.out, Data: gen("g2")}, files[1], {Path: files[2].Path, Data: []byte("upstream b {}")}}
	s.refuses(step.Test, bad, "no servers are inside upstream in "+files[2].Path)
	s.holds("conf.d/out.conf", gen("g1"))
	s.clean()
}

// The order in which such files are installed is one in which each state passes.
func TestOrderOfDependentOutputs(t *testing.T) {
	s := running(t)
	path := func(name string) string { return filepath.Join(s.dir, "conf.d", name) }
	user := File{Path: path("a.conf"), Data: []byte("server { listen unix:" + s.dir + "/s; return 200 $made; }\n")}
	maker := File{Path: path("b.conf"), Data: []byte("map $host $made { default 1; }\n")}
	order := func(files ...File) ([]string, error) {
		t.Helper()
		as, err := s.n.setup(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		outs, err := s.n.outputs(files)
		if err != nil {
			t.Fatal(err)
		}
		defer discard(outs)
		if err := stage(outs); err != nil {
			t.Fatal(err)
		}
		defer s.n.tidy.Wait()
		list, err := s.n.order(context.Background(), as, outs)
		var names []string
		for _, o := range list {
			names = append(names, filepath.Base(o.Path))
		}
		return names, err
	}
	s.apply() // makes the state folder
	if got, err := order(user, maker); err != nil || len(got) != 2 || got[0] != "b.conf" {
		t.Errorf("order %q, %v; want b.conf first", got, err)
	}
	s.apply(user, maker)

	gone := []File{{Path: maker.Path, Remove: true}, {Path: user.Path, Remove: true}}
	if got, err := order(gone...); err != nil || len(got) != 2 || got[0] != "a.conf" {
		t.Errorf("order %q, %v; want a.conf first", got, err)
	}
	// Each needs the other to change at the same moment.
	swap := []File{{Path: user.Path, Data: maker.Data}, {Path: maker.Path, Data: []byte("upstream b { server 127.0.0.1:9; }\nserver { listen unix:" + s.dir + "/s; return 200 $made$b; }\nmap $host $b { default 1; }\n")}}
	s.apply(swap...)
	cycle := []File{
		{Path: user.Path, Data: []byte("map $host $made2 { default $b2; }\n")},
		{Path: maker.Path, Data: []byte("server { listen unix:" + s.dir + "/s; return 200 $made2; }\nmap $host $b2 { default 1; }\n")},
	}
	s.refuses(step.Test, cycle, "no order to install them one by one", "one output")
	s.holds("conf.d/a.conf", swap[0].Data)
	s.clean()
}
