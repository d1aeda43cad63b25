package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kballard/go-shellquote"

	"github.com/bazbeans/bazbeans/pool"
)

// Exec says what the command exec may run.
type Exec struct {
	Allow       []string `yaml:"allow"`       // exact names, looked for in the usual folders, and absolute paths; default docker, systemctl, ls, cat
	User        string   `yaml:"user"`        // runs as that user, if the agent is root; default: as the agent. Also for programs of commands_dir
	Timeout     Duration `yaml:"timeout"`     // default 30s
	TimeoutMost Duration `yaml:"timeout_max"` // a command may ask for so long; default 10m
}

func (e Exec) check() (*runAs, error) {
	var errs []error
	for _, p := range e.Allow {
		if p == "" || strings.ContainsRune(p, filepath.Separator) && p != filepath.Clean(p) || !filepath.IsAbs(p) && filepath.Base(p) != p {
			errs = append(errs, fmt.Errorf("allow: %q is neither a program's name nor a plain absolute path", p))
		}
	}
	if e.Timeout <= 0 || e.TimeoutMost < e.Timeout {
		errs = append(errs, fmt.Errorf("timeout %v must be more than 0 and at most timeout_max %v", e.Timeout, e.TimeoutMost))
	}
	as, err := lookupUser(e.User)
	return as, errors.Join(append(errs, err)...)
}

// exec runs one program, without a shell: its words are split as a shell would, and nothing else of a shell is done.
// Arguments: argv (list of words) or command (text); timeout (seconds, or a text like 1m).
func (a *Agent) exec(ctx context.Context, c pool.Command) (any, error) {
	r := a.rules.Load()
	argv, err := words(c)
	if err != nil {
		return nil, err
	}
	if err := r.Exec.allows(argv[0]); err != nil {
		return nil, err
	}
	limit, err := r.Exec.limit(c.Args["timeout"])
	if err != nil {
		return nil, err
	}
	dir, err := a.workDir()
	if err != nil {
		return nil, err
	}
	return program{argv: argv, path: a.path, dir: dir, as: r.as, limit: limit}.run(ctx)
}

// words are the program and its arguments.
func words(c pool.Command) ([]string, error) {
	var argv []string
	switch list, isList := c.Args["argv"].([]any); {
	case c.Args["argv"] != nil && !isList:
		return nil, refuse(`argv is not a list of words like ["docker", "ps"]`)
	case isList:
		for _, w := range list {
			s, ok := w.(string)
			if !ok {
				return nil, refuse(`argv is not a list of words like ["docker", "ps"]`)
			}
			argv = append(argv, s)
		}
	default:
		text, ok := c.Args["command"].(string)
		if !ok {
			return nil, refuse(`it has no command: want argv, a list of words, or command, a text`)
		}
		var err error
		if argv, err = shellquote.Split(text); err != nil {
			return nil, refuse("command %.200q can't be split into words: %v", text, err)
		}
	}
	if len(argv) == 0 || argv[0] == "" {
		return nil, refuse("it names no program")
	}
	if slices.ContainsFunc(argv, func(w string) bool { return strings.ContainsRune(w, 0) }) {
		return nil, refuse("a word holds a zero byte")
	}
	return argv, nil
}

// allows says why a program may not be run. Its word must stand in allow exactly: what is not a name or an absolute path
// never does.
func (e Exec) allows(name string) error {
	if slices.Contains(e.Allow, name) {
		return nil
	}
	why := fmt.Sprintf("program %.100q is not in this node's exec.allow (%s)", name, strings.Join(e.Allow, ", "))
	if strings.ContainsAny(name, ";|&<>$`(){}*?!~\"'\\\n =") {
		why += "; no shell is used: signs like ; | > $ are plain text"
	}
	return refuse("%s", why)
}

// limit is the time that a command may take: what it asks for, if it may.
func (e Exec) limit(asked any) (time.Duration, error) {
	if asked == nil {
		return time.Duration(e.Timeout), nil
	}
	var d Duration
	if err := d.Set(fmt.Sprint(asked)); err != nil || d <= 0 {
		return 0, refuse("timeout %.40q is not a time like 10s or 30 (seconds)", fmt.Sprint(asked))
	}
	if d > e.TimeoutMost {
		return 0, refuse("timeout %v is more than this node's exec.timeout_max %v", d, e.TimeoutMost)
	}
	return time.Duration(d), nil
}

// workDir is app_dir. Where the default one is missing it is /, so that a node without an application can be looked at;
// one that was set and is missing (a disk that is not mounted) is no place to run anything.
func (a *Agent) workDir() (string, error) {
	info, err := os.Stat(a.cfg.AppDir)
	switch {
	case err == nil && info.IsDir():
		return a.cfg.AppDir, nil
	case a.cfg.AppDir == Defaults().AppDir && errors.Is(err, os.ErrNotExist):
		return "/", nil
	case err == nil:
		return "", refuse("app_dir %s is not a folder", a.cfg.AppDir)
	}
	return "", refuse("app_dir: %v", err)
}
