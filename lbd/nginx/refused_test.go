package nginx

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// A refusal names the outputs at fault, so that the others can go in without them.
func TestRefusedNamesTheOutputs(t *testing.T) {
	s := running(t)
	path := func(name string) string { return filepath.Join(s.dir, "conf.d", name) }
	for _, tc := range []struct {
		files map[string]string
		want  []string
	}{
		{map[string]string{"a.conf": "borken;", "b.conf": "# fine"}, []string{"a.conf"}},
		{map[string]string{"a.conf": "# fine", "a.conf.conf": "upstream u {}"}, []string{"a.conf.conf"}},
		{map[string]string{"a.conf": "upstream u { server 127.0.0.1:9; }", "b.conf": "upstream u { server 127.0.0.1:9; }"}, []string{"b.conf"}},
		{map[string]string{"a.conf": "server { return 200 $nothing; }"}, nil}, // Nginx says no more than the variable
	} {
		var files []File
		for name, text := range tc.files {
			files = append(files, File{Path: path(name), Data: []byte(text)})
		}
		slices.SortFunc(files, func(a, b File) int { return len(a.Path) - len(b.Path) })
		var want []string
		for _, name := range tc.want {
			want = append(want, path(name))
		}
		err := s.n.Test(t.Context(), files)
		r := new(Refused)
		if !errors.As(err, &r) || !slices.Equal(r.Paths, want) {
			t.Errorf("%v: %q, want %q: %v", tc.files, r.Paths, want, err)
		}
	}
	s.write("conf.d/theirs.conf", "borken;")
	if err := s.n.Test(t.Context(), []File{{Path: s.out, Data: gen("g1")}}); err == nil || errors.As(err, new(*Refused)) {
		t.Errorf("a fault of the operator's: %v", err)
	}
}

func TestMentions(t *testing.T) {
	for text, want := range map[string]bool{
		"x in /a/b.conf:3": true, "/a/b.conf": true, `"/a/b.conf"`: true, "/a/b.conf.d/x:1": false, "/a/a/b.conf:3": false,
		"/a/b.confx /a/b.conf:1": true, "": false, "/a/b_conf": false,
	} {
		if mentions(text, "/a/b.conf") != want {
			t.Errorf("mentions(%q) is %v", text, !want)
		}
	}
}

// Nginx that takes the files and has not read one whole, as where a module's reader loses text, counts as one that refuses it.
func TestNotReadWhole(t *testing.T) {
	s := newSite(t, "include conf.d/*.conf;", map[string]string{"conf.d/out.conf": string(gen("g0"))})
	s.start()
	real, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatal(err)
	}
	s.write("bin/nginx", "#!/bin/sh\n"+real+" \"$@\" | sed /lost/d\n")
	binary := filepath.Join(s.dir, "bin/nginx")
	if err := os.Chmod(binary, 0o755); err != nil {
		t.Fatal(err)
	}
	n := s.open(Options{Binary: binary})
	other := filepath.Join(s.dir, "conf.d/b.conf")
	err = n.Test(t.Context(), []File{{Path: s.out, Data: gen("g1")}, {Path: other, Data: []byte("# lost\n")}})
	if r := new(Refused); !errors.As(err, &r) || !slices.Equal(r.Paths, []string{other}) {
		t.Errorf("%v", err)
	}
	if err := n.Test(t.Context(), []File{{Path: s.out, Data: gen("g1")}, {Path: other, Data: []byte("# found\n")}}); err != nil {
		t.Error(err)
	}
}
