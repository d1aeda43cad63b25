package resolvers

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script writes a shell script and returns its path.
func script(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lookup")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func callback(t testing.TB, o CallbackOptions) *Callback {
	t.Helper()
	c, err := NewCallback(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// prompt bounds what must not wait for anybody's answer: those that hang do so for longer.
const prompt = 10 * time.Second

// finally polls until what is said of a node is so.
func finally(t *testing.T, c *Cache, id string, so func(said string) bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		said, took := say(t, c, id)
		if took > prompt {
			t.Errorf("%s: Resolve took %v", id, took)
		}
		if so(said) {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s: %q", id, said)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func is(want string) func(string) bool { return func(said string) bool { return said == want } }

func TestProgramOutcomes(t *testing.T) {
	path := script(t, `
case $1 in
found) echo 10.0.0.1:8000;;
six) printf '[fd00::1]:80';;
none) ;;
blank) echo;;
grep) exit 1;;
crash) echo 'Traceback (most recent call last)' >&2; exit 1;;
half) echo 10.0.0.1; exit 1;;
failed) exit 3;;
signal) kill -9 $$;;
text) echo 'no such node';;
two) echo 10.0.0.1; echo 10.0.0.2;;
many) yes 10.0.0.1;;
child) sleep 1000 & echo 10.0.0.3;;
args) echo "10.0.0.$#";;
env) [ "$(env | grep -v -e ^PWD= -e ^SHLVL= -e ^OLDPWD= -e ^_=)" = "`+programPath+`" ] && [ $PWD = / ] && echo 10.0.0.5;;
esac`)
	c := callback(t, CallbackOptions{Exec: []string{path}, Timeout: time.Minute})
	t.Setenv("SECRET", "x")
	for id, want := range map[string]string{
		"found":  "10.0.0.1",
		"six":    "fd00::1",
		"none":   "not mine",
		"blank":  "not mine",
		"grep":   "not mine",
		"crash":  path + `: exit status 1: "Traceback (most recent call last)"`,
		"half":   path + ": exit status 1",
		"failed": path + ": exit status 3",
		"signal": path + ": signal: killed",
		"text":   `"no such node" is not an IP address, or one with a port (like 10.0.1.10 or 10.0.1.10:8000)`,
		"two":    `"10.0.0.1\n10.0.0.2" is not an IP address, or one with a port (like 10.0.1.10 or 10.0.1.10:8000)`,
		"many":   path + ": it says too much",
		"child":  "10.0.0.3",
		"args":   "10.0.0.1",
		"env":    "10.0.0.5",
	} {
		finally(t, c.Cache, id, is(want))
	}
	got, err := c.Resolve(t.Context(), nodes("found", "six"))
	if err != nil || got["found"].Port != 8000 || got["six"].Port != 80 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestProgramBatch(t *testing.T) {
	dir := t.TempDir()
	path := script(t, fmt.Sprintf(`
echo run >>%s/runs
while read -r id; do
	echo "$id" >>%[1]s/asked
	case $id in
	two) echo "two 10.0.0.1"; echo "two 10.0.0.2";;
	same) echo "same 10.0.0.4"; echo "  same	10.0.0.4  ";;
	alone) echo alone;;
	long) echo "long 10.0.0.1 weight=5";;
	bad) echo "bad unix:/run/docker.sock";;
	n*) echo "$id 10.0.0.7:80";;
	esac
done
echo '# a comment'; echo; echo 'stranger 10.0.0.9'`, dir))
	c := callback(t, CallbackOptions{Exec: []string{path}, Batch: true, Timeout: time.Minute})
	all := append(ids(10_000), "two", "same", "alone", "long", "bad", "gone")
	learnable := nodes(all...)
	deadline := time.Now().Add(time.Minute)
	got := Answers{}
	for got["n9999"].Port != 80 {
		if time.Now().After(deadline) {
			t.Fatalf("n9999: %+v", got["n9999"])
		}
		var err error
		if got, err = c.Resolve(t.Context(), learnable); err != nil {
			t.Fatal(err)
		}
	}
	if got["n0"].Port != 80 || got["same"].Addr != at("10.0.0.4").Addr || got["same"].Err != nil {
		t.Errorf("n0 %+v, same %+v", got["n0"], got["same"])
	}
	for _, id := range []string{"two", "long", "bad"} {
		if !IsRefused(got[id].Err) {
			t.Errorf("%s: %+v", id, got[id])
		}
	}
	if len(got) != 10_004 {
		t.Errorf("%d answers: alone, gone and the stranger have none", len(got))
	}
	if runs := lines(t, dir+"/runs"); len(runs) != 1 {
		t.Errorf("%d runs", len(runs))
	}
	if asked := lines(t, dir+"/asked"); len(asked) != len(all) {
		t.Errorf("it was asked about %d of %d nodes", len(asked), len(all))
	}
}

func TestProgramBatchFailsHalfWay(t *testing.T) {
	path := script(t, `echo "a 10.0.0.1"; printf "b 10.0.0.2"; echo "the database is gone" >&2; exit 2`)
	c := callback(t, CallbackOptions{Exec: []string{path, "--all"}, Batch: true})
	finally(t, c.Cache, "a", is("10.0.0.1"))
	why := path + `: exit status 2: "the database is gone"`
	finally(t, c.Cache, "b", is(why)) // its line is not finished: it could be 10.0.0.21
	finally(t, c.Cache, "c", is(why))
}

// A program that hangs delays nobody, is killed with all its children, and what was known before stays.
func TestProgramHangs(t *testing.T) {
	dir := t.TempDir()
	path := script(t, fmt.Sprintf(`
[ -e %s/hang ] || { echo 10.0.0.1; exit; }
sleep 1000 & echo $! >%[1]s/child.new; mv %[1]s/child.new %[1]s/child
trap '' TERM
wait; sleep 1000`, dir))
	c := callback(t, CallbackOptions{Exec: []string{path}, Timeout: 300 * time.Millisecond, Parallel: 2})
	finally(t, c.Cache, "a", is("10.0.0.1"))
	if err := os.WriteFile(dir+"/hang", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	expire(c.Cache, "a")
	finally(t, c.Cache, "a", is("10.0.0.1, "+path+": no answer within 300ms"))
	finally(t, c.Cache, "b", is(path+": no answer within 300ms"))
	deadline := time.Now().Add(time.Minute)
	for ; time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) { // it may have been killed before it had a child
		if _, err := os.Stat(dir + "/child"); err == nil {
			break
		}
		say(t, c.Cache, "b")
	}
	child, err := strconv.Atoi(lines(t, dir+"/child")[0])
	if err != nil {
		t.Fatal(err)
	}
	for alive(child) {
		if time.Now().After(deadline) {
			t.Fatalf("its child %d lives on", child)
		}
		time.Sleep(10 * time.Millisecond)
	}
	c = callback(t, CallbackOptions{Exec: []string{path}, Timeout: time.Minute, Parallel: 2})
	for _, id := range ids(20) { // ten times as many as may be asked at once
		if _, took := say(t, c.Cache, id); took > prompt {
			t.Errorf("%s: %v", id, took)
		}
	}
}

// expire makes a node's answer as old as it will be.
func expire(c *Cache, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[id].until, c.entries[id].due, c.next = time.Time{}, time.Time{}, time.Time{}
}

// alive reports whether a process runs; a zombie doesn't.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestProgramRunsAsItsUser(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	name := me.Username
	if me.Uid == "0" {
		name = "nobody"
	}
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	// The id as an address, so that it is the answer itself that tells. /bin/sh, since a script of ours is not
	// readable to others.
	c := callback(t, CallbackOptions{User: name, Exec: []string{"/bin/sh", "-c", `u=$(id -u); echo 10.0.$((u / 256)).$((u % 256))`}})
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	finally(t, c.Cache, "n", is(fmt.Sprintf("10.0.%d.%d", uid/256, uid%256)))
	if as, err := credential(me.Username); as != nil || err != nil {
		t.Errorf("%v, %v: nothing is to be changed for our own user", as, err)
	}
}

func TestProgramThatCannotStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lookup")
	if err := os.WriteFile(path, []byte("#!/no/such/interpreter\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := callback(t, CallbackOptions{Exec: []string{path}})
	finally(t, c.Cache, "n", func(said string) bool { return strings.Contains(said, syscall.ENOENT.Error()) })
}

func TestCallbackOptions(t *testing.T) {
	dir := t.TempDir()
	plain, empty := filepath.Join(dir, "plain"), filepath.Join(dir, "empty")
	for path, text := range map[string]string{plain: "not a certificate", empty: ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sh := []string{"/bin/sh"}
	for want, o := range map[string]CallbackOptions{
		"either exec":                 {},
		"exec: [PROGRAM] or url":      {Exec: sh, URL: "https://h/{node_id}"},
		"not an absolute path":        {Exec: []string{"lookup"}},
		"no such file":                {Exec: []string{dir + "/none"}},
		"is not a program":            {Exec: []string{plain}},
		"/tmp is not a program":       {Exec: []string{"/tmp"}},
		"user: user: unknown user":    {Exec: sh, User: "no-such-user"},
		"go with url":                 {Exec: sh, CA: plain},
		"user goes with exec":         {URL: "https://h/{node_id}", User: "root"},
		"is not a URL":                {URL: "https://h/%zz{node_id}"},
		"does not begin with http":    {URL: "ftp://h/{node_id}"},
		"https://HOST":                {URL: "https:///{node_id}"},
		"a password has no place":     {URL: "https://u:p@h/{node_id}"},
		"#fragment":                   {URL: "https://h/{node_id}#x"},
		"it needs {node_id}":          {URL: "https://h/"},
		"must not have it with batch": {URL: "https://h/{node_id}", Batch: true},
		"in the path or the query":    {URL: "https://{node_id}.example.com/"},
		"over http everybody":         {URL: "http://h/{node_id}", TokenFile: plain},
		"token_file: open":            {URL: "https://h/{node_id}", TokenFile: dir + "/none"},
		"hold one word":               {URL: "https://h/{node_id}", TokenFile: plain},
		"does not hold one":           {URL: "https://h/{node_id}", TokenFile: empty},
		"ca: open":                    {URL: "https://h/{node_id}", CA: dir + "/none"},
		"no certificate in":           {URL: "https://h/{node_id}", CA: plain},
		"less than a second":          {Exec: sh, TTL: time.Millisecond},
		"is negative":                 {Exec: sh, Timeout: -1},
		"between 1 and 1000":          {Exec: sh, Parallel: 1001},
	} {
		if _, err := NewCallback(o); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "callback resolver: ") {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
	if _, err := NewCallback(CallbackOptions{URL: "http://u:secret@h\x7f/{node_id}"}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

func TestErrorsAreNotAnswers(t *testing.T) {
	if f := found(Endpoint{}, nil); f.err == nil || errors.Is(f.err, ErrNotMine) || IsRefused(f.err) {
		t.Errorf("%+v: a function that forgets to say something cannot know", f)
	}
}
