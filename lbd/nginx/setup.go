package nginx

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bazbeans/bazbeans/ngxconf"
)

// setup is how this Nginx is run. It is the same for all that one Apply does, whatever the master does meanwhile.
type setup struct {
	build
	prefix string // what Nginx puts before relative paths other than those in its configuration folder; nginx -p if given
	given  bool   // prefix was given to Nginx, so it must be to a test
	// conf is the main configuration file's absolute path, as named: links in it matter, since relative includes are
	// relative to the folder that the name says.
	conf   string
	global string // nginx -g
}

// setup asks the binary, and the running master if there is one.
func (n *Nginx) setup(ctx context.Context) (setup, error) {
	b, err := n.build(ctx)
	if err != nil {
		return setup{}, err
	}
	_, run, _ := n.master(b) // without one there is nothing to learn from it
	return n.setupAs(b, run), nil
}

// setupAs is as the options say, else as the verified master was told that has the arguments run, else as the last one
// proven was.
func (n *Nginx) setupAs(b build, run args) setup {
	if run == (args{}) {
		run = n.lastProof().Args
	}
	s := setup{build: b, prefix: b.prefix, conf: n.named(b), global: run.Global}
	switch {
	case n.opt.Prefix != "":
		s.prefix, s.given = n.opt.Prefix, true
	case run.Prefix != "":
		s.prefix, s.given = run.Prefix, true
	}
	if run.Conf != "" && samePath(run.Conf, s.conf) {
		s.conf = run.Conf
	}
	if n.opt.Global != "" {
		s.global = n.opt.Global
	}
	return s
}

// named is the main configuration file as the options name it: by this a master is known as ours. The master's own
// prefix has no part in it.
func (n *Nginx) named(b build) string {
	if n.opt.Prefix != "" {
		return under(n.opt.Prefix, n.opt.Conf)
	}
	return under(b.prefix, n.opt.Conf)
}

// globally calls f for each statement of -g.
func (s setup) globally(f func(*ngxconf.Statement)) {
	list, err := ngxconf.Parse([]byte(s.global))
	if err != nil {
		return // Nginx has more to say to it
	}
	for i := range list {
		f(&list[i])
	}
}

// args are what a verified master was started with.
type args struct {
	Conf   string // absolute, also when -c was not given
	Prefix string // absolute; "" when -p was not given
	Global string
}

// argsOf reads the title of master p. err means that it cannot be told what they are.
func argsOf(p process, b build, title string) (args, error) {
	a := parseArgs(title)
	if a.Prefix != "" && !filepath.IsAbs(a.Prefix) {
		cwd, err := os.Readlink("/proc/" + strconv.Itoa(p.PID) + "/cwd")
		if err != nil {
			return args{}, absent("the prefix %s of process %d is relative, and its folder cannot be read", a.Prefix, p.PID)
		}
		a.Prefix = filepath.Join(cwd, a.Prefix)
	}
	a.Conf = a.confIn(b)
	return a, nil
}

// parseArgs finds the options in the title of a master. Nginx joins them with spaces: a value ends where the next word
// begins with "-".
func parseArgs(title string) args {
	var a args
	words := strings.Fields(strings.TrimPrefix(title, masterTitle))
	for i := 0; i < len(words); i++ {
		word := words[i]
		if len(word) < 2 || word[0] != '-' || !strings.ContainsRune("cpgse", rune(word[1])) {
			continue
		}
		value := []string{word[2:]}
		for i+1 < len(words) && !strings.HasPrefix(words[i+1], "-") {
			i++
			value = append(value, words[i])
		}
		text := strings.TrimSpace(strings.Join(value, " "))
		switch word[1] {
		case 'c':
			a.Conf = text
		case 'p':
			a.Prefix = text
		case 'g':
			a.Global = text
		}
	}
	return a
}

// confIn is the main configuration file of a master with these arguments.
func (a args) confIn(b build) string {
	prefix := b.prefix
	if a.Prefix != "" {
		prefix = a.Prefix
	}
	if a.Conf != "" {
		return under(prefix, a.Conf)
	}
	return under(prefix, b.conf)
}
