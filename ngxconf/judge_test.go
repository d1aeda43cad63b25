package ngxconf

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// judge is the real Nginx, testing configurations in a folder of its own.
type judge struct {
	t       *testing.T
	dir     string
	modules string // folder of the dynamic modules
}

func newJudge(t *testing.T) *judge {
	t.Helper()
	out, err := exec.Command("nginx", "-V").CombinedOutput()
	if err != nil {
		t.Fatalf("nginx is not installed: run `make deps` (%v)", err)
	}
	j := &judge{t: t, dir: t.TempDir()}
	if m := regexp.MustCompile(`--modules-path=(\S+)`).FindSubmatch(out); m != nil {
		j.modules = string(m[1])
	}
	return j
}

// says runs `nginx -t` on conf and returns whether Nginx accepts it and what it printed.
func (j *judge) says(conf string) (bool, string) {
	j.t.Helper()
	file := filepath.Join(j.dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		j.t.Fatal(err)
	}
	out, err := exec.Command("nginx", "-t", "-e", "stderr", "-p", j.dir, "-c", file,
		"-g", "pid "+j.dir+"/pid; error_log stderr;").CombinedOutput()
	return err == nil, string(out)
}

// The body of types{} takes any words and no blocks, so Nginx's verdict on it is one on tokens alone; and, written
// twice, Nginx warns of each word but a statement's first one, with the value that it sees.
func typesTwice(body string) string {
	return "events {}\nhttp { types {\n" + body + "\n" + body + "\n} types_hash_max_size 65536; access_log off; }\n"
}

func checkTypes(t *testing.T, j *judge, body string) (accepted bool) {
	t.Helper()
	conf := typesTwice(body)
	list, err := Parse([]byte(conf))
	ok, said := j.says(conf)
	want := err == nil && len(list) == 2 && typesOnly(list[1].Block)
	if ok != want {
		t.Errorf("body %q: Nginx accepts: %v, we: %v (%v)\n%s", body, ok, want, err, said)
		return ok
	}
	once, err := Parse([]byte(body))
	if !ok || err != nil { // an open quote in it may be closed by its second copy
		return ok
	}
	for _, s := range once {
		for _, w := range s.Words[1:] {
			if !strings.Contains(said, `duplicate extension "`+asciiLower(w.Text)+`", content type: `) {
				t.Errorf("body %q: Nginx did not see the value %q\n%s", body, w.Text, said)
			}
		}
	}
	return true
}

// typesOnly tells whether top, the blocks of http{} in a text of typesTwice, hold nothing that Nginx refuses for
// its meaning: no block within types{}, no second types{} made by braces in the body.
func typesOnly(http []Statement) bool {
	if len(http) != 3 || http[0].Name() != "types" || http[1].Name() != "types_hash_max_size" {
		return false
	}
	for _, s := range http[0].Block {
		if s.HasBlock {
			return false
		}
	}
	return true
}

// asciiLower is what Nginx does to an extension.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

func TestNginxAgreesOnTable(t *testing.T) {
	j := newJudge(t)
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, body := range []string{
		"", "a b;", `a "b;c" 'd}e';`, `a "b"c;`, `a "b")c;`, `a "b"#c;`, `a "b"};`, `a b"c d"e;`, `a \;b c\ d;`,
		`a "\t\n\r" '\"' \x \\;`, "a ${b} $c;", "a ${b c};", "a $ {;", "a b{c;", "a $\\{ b;", "a b#c; # d\nb c;",
		";", "a", "}", "a }", "a b; }", "a 'b", "a \"b\n;", "a b \\", "\ufeffa b;", "a \xff\x80;", "a\rb;", "a \vb;", "a b;;",
		"#" + long(4094) + "\n", "#" + long(4095) + "\n", "#" + long(4096) + "\n", "#" + long(5000) + "\n",
		"a " + long(4094) + ";", "a " + long(4095) + ";", "a " + long(4095) + " ;", "a " + long(4096) + ";", "a " + long(4097) + ";",
		"a '" + long(4093) + "';", "a '" + long(4094) + "';", "a '" + long(4095) + "';", "a '" + long(4095) + "' ;", "a '" + long(4096) + "';",
		"a" + strings.Repeat(" ", 9000) + "b;", "a " + strings.Repeat("b ", 3000) + ";",
	} {
		// Nginx cuts what it prints at 2,048 bytes: compare only the verdict on such bodies.
		if len(body) > 2000 {
			conf := typesTwice(body)
			_, err := Parse([]byte(conf))
			if ok, said := j.says(conf); ok != (err == nil) {
				t.Errorf("body %.20q, %d bytes: Nginx accepts: %v, we: %v\n%.300s", body, len(body), ok, err, said)
			}
			continue
		}
		checkTypes(t, j, body)
	}
}

func TestNginxAgreesOnRandomBodies(t *testing.T) {
	j := newJudge(t)
	const bodies = 300
	parts := []string{
		"a", "b", "N", "n", "t", " ", " ", "\n", "\t", "\r", ";", ";", "; ", "\"", "'", "\\", "$", "${", "{", "}", "#", ")", "(",
		" c d;", "e ", " 'f g' ", ` "h;"`, ` "i\"j" `, "é", "\xfe",
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range bodies {
		var b strings.Builder
		for n := 1 + rnd.IntN(9); n > 0; n-- {
			b.WriteString(parts[rnd.IntN(len(parts))])
		}
		if rnd.IntN(2) == 0 {
			b.WriteString(";")
		}
		if checkTypes(t, j, b.String()) {
			accepted++
		}
	}
	if accepted < bodies/20 {
		t.Errorf("only %d of %d bodies accepted: the generator says little", accepted, bodies)
	}
}

func TestNginxAgreesOnLuaBlocks(t *testing.T) {
	j := newJudge(t)
	head := ""
	for _, m := range []string{"ndk_http_module.so", "ngx_http_lua_module.so"} {
		m = filepath.Join(j.modules, m)
		if _, err := os.Stat(m); err != nil {
			t.Fatalf("the Lua module for nginx is not installed: run `make deps` (%v)", err)
		}
		head += "load_module " + m + ";\n"
	}
	for _, body := range []string{
		` x `, ` "}" `, ` "\"}" `, ` '}' `, ` 'a"}' `, ` "\\" `, ` [[ } ]] `, ` [=[ } ]] ]=] `, ` [= } `, ` [== `, ` [[[ } ]] `,
		` [[=[ } ]] `, ` [=[[ } ]=] `, ` a[b[1]] } `, ` a[b[1]] `, "--}\n", "--[[ } \n } ]] ", "--[ }\n", "--[=\n", "--[= [ }\n",
		"--[=[ ]=\n} ]=] ", "--[==[ ]] } ]==] ", "-- \"\n", " it's }\n", " it's \n", " \"abc\n } ", " \"abc\n ", " \"abc\\\n}\" ", " \"abc\\\n ",
		" \"abc\\z\n }\" ", " ]] ", " - - } ", ` "a `, " 'x} ' ", "}} ", "{{}} ", "{", "}", " [[ ", " --[[ ", "-- } ", ` '\'}' `, ` "'}" `,
		" x = [==[\n]]}\n]==] ", "\\\"}\" ", "---[[ }\n", "--\"}\n}\n",
	} {
		conf := head + "events {}\nhttp { access_log off; server { listen unix:" + j.dir + "/s;\n" +
			"location / { content_by_lua_block {" + body + "} } } }\n"
		_, err := Parse([]byte(conf))
		if ok, said := j.says(conf); ok != (err == nil) {
			t.Errorf("body %q: Nginx accepts: %v, we: %v\n%s", body, ok, err, said)
		}
	}
}
