package nginx

import (
	"fmt"
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

// order is the order in which files would be installed.
func (s *site) order(files ...File) (names []string, err error) {
	s.t.Helper()
	as, err := s.n.setup(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	outs, err := s.n.outputs(files)
	if err != nil {
		s.t.Fatal(err)
	}
	defer discard(outs)
	if err := stage(outs); err != nil {
		s.t.Fatal(err)
	}
	defer s.n.tidy.Wait()
	list, err := s.n.order(s.t.Context(), as, outs)
	for _, o := range list {
		names = append(names, filepath.Base(o.Path))
	}
	return names, err
}

// The order in which such files are installed is one in which each state passes.
func TestOrderOfDependentOutputs(t *testing.T) {
	s := running(t)
	path := func(name string) string { return filepath.Join(s.dir, "conf.d", name) }
	user := File{Path: path("a.conf"), Data: []byte("server { listen unix:" + s.dir + "/s; return 200 $made; }\n")}
	maker := File{Path: path("b.conf"), Data: []byte("map $host $made { default 1; }\n")}
	s.apply() // makes the state folder
	if got, err := s.order(user, maker); err != nil || len(got) != 2 || got[0] != "b.conf" {
		t.Errorf("order %q, %v; want b.conf first", got, err)
	}
	s.apply(user, maker)

	gone := []File{{Path: maker.Path, Remove: true}, {Path: user.Path, Remove: true}}
	if got, err := s.order(gone...); err != nil || len(got) != 2 || got[0] != "a.conf" {
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

// Where Nginx does not start before all of them are there, no state on the way is worth keeping.
func TestOrderInTreeThatIsBroken(t *testing.T) {
	for name, include := range map[string]string{
		"glob":    "include conf.d/*.conf;",
		"by name": "include conf.d/app.conf; include conf.d/other.conf;",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "", nil)
			s.write("conf.d/README", "") // makes the folder
			s.write("nginx.conf", head(s.dir)+include+fmt.Sprintf(`
server { listen 127.0.0.1:%d; location / { proxy_pass http://app; } }
server { listen unix:%s/a; location / { proxy_pass http://other; } }
server { listen unix:%[2]s/o; return 200 both; }
}
`, s.port, s.dir))
			upstream := func(name, socket string) File {
				return File{
					Path: filepath.Join(s.dir, "conf.d", name+".conf"),
					Data: fmt.Appendf(nil, "upstream %s { server unix:%s/%s; }\n", name, s.dir, socket),
				}
			}
			files := []File{upstream("app", "a"), upstream("other", "o")}
			if out := s.apply(files...); !out.Changed || out.Running {
				t.Errorf("outcome %+v", out)
			}
			s.holds("conf.d/app.conf", files[0].Data)
			s.holds("conf.d/other.conf", files[1].Data)
			s.start()
			s.serves("both")
			if out := s.apply(files...); out.Changed || !out.Running {
				t.Errorf("outcome with nginx running %+v", out)
			}
			s.clean()
		})
	}
}

// What mends a broken tree comes after what would break it again.
func TestOrderMendsLast(t *testing.T) {
	s := newSite(t, "include conf.d/*.conf;", map[string]string{"conf.d/b.conf": "", "conf.d/c.conf": ""})
	s.apply() // makes the state folder
	files := []File{
		{Path: s.out, Data: gen("g1")}, // alone enough for nginx.conf
		{Path: filepath.Join(s.dir, "conf.d/b.conf"), Data: []byte("map $host $b { default $c; }\n")},
		{Path: filepath.Join(s.dir, "conf.d/c.conf"), Data: []byte("map $host $c { default $b; }\n")},
	}
	if got, err := s.order(files...); err != nil || len(got) != 3 || got[2] != "out.conf" {
		t.Errorf("order %q, %v; want out.conf last", got, err)
	}
	s.apply(files[0]) // now the tree passes, and there is something to break
	s.refuses(step.Test, files, "no order to install them one by one")
	s.holds("conf.d/b.conf", nil)
	s.holds("conf.d/c.conf", nil)
	s.clean()
}
