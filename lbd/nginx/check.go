package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/step"
)

// test has Nginx test the configuration with the staged outputs, and w if there is one, in place, and returns the tree
// that was tested.
func (n *Nginx) test(ctx context.Context, s setup, outs []*output, w *witness) (*tree, error) {
	conf, outs := s.conf, w.outputs(outs)
	if real, err := filepath.EvalSymlinks(conf); err == nil {
		if i := slices.IndexFunc(outs, func(o *output) bool { return o.real == real }); i >= 0 {
			return nil, step.Errorf(step.Test, "write a file that it includes", "output %s is Nginx's main configuration file", outs[i].Path)
		}
	}
	t := walk(conf, outs)
	for _, o := range outs {
		if t.reached[o] || o.Remove {
			continue
		}
		if t.broken != nil { // the include may stand behind what we could not read
			if err := n.blame(ctx, s, outs); err != nil {
				return nil, err
			}
		}
		return nil, step.Errorf(step.Test, fmt.Sprintf("add `include %s;` inside http {} in %s", o.Path, conf),
			"no include statement of %s leads to output %s", conf, o.Path)
	}
	if err := w.alone(t); err != nil {
		return nil, err
	}
	sh, err := n.newShadow(t)
	if err != nil {
		return nil, err
	}
	defer n.tidy.Go(sh.remove)
	dump, said, err := n.run(ctx, s, "-T", sh.conf)
	if err != nil {
		if ctx.Err() != nil || !refused(err) {
			return nil, step.Errorf(step.Test, "", "run nginx -t: %w", err)
		}
		if sh.main == "" {
			return nil, brokenOnDisk(complaint(said))
		}
		if err := n.blame(ctx, s, outs); err != nil {
			return nil, err
		}
		said = strings.NewReplacer(sh.names...).Replace(said)
		r := newRefused(complaint(said), outs, w)
		hint := "nothing was changed"
		if w != nil && mentions(r.Why, w.out.Path) {
			hint = "for nginx.proof the first output must be included right in http {}; nothing was changed"
		}
		return nil, &step.Error{Step: step.Test, Err: r, Hint: hint}
	}
	for _, m := range sh.markers {
		if !bytes.Contains(dump, m.text) {
			r := &Refused{Why: fmt.Sprintf("nginx -T does not read the whole of output %s where its include statement is", m.out.Path), Paths: []string{m.out.Path}}
			return nil, &step.Error{Step: step.Test, Err: r, Hint: "should that be in the block of a foreign module, move it out; nothing was changed"}
		}
	}
	return t, nil
}

// testLive tests what is on disk; why is what Nginx has against it, "" when it passes.
func (n *Nginx) testLive(ctx context.Context, s setup) (why string, err error) {
	_, said, err := n.run(ctx, s, "-t", s.conf)
	switch {
	case err == nil:
		return "", nil
	case refused(err):
		return complaint(said), nil
	}
	return "", step.Errorf(step.Test, "", "run nginx -t: %w", err)
}

// blame asks, after Nginx refused the new configuration, whether it refuses what is on disk as well. If so, and not
// because of our own files, the error says so; else it is nil.
func (n *Nginx) blame(ctx context.Context, s setup, outs []*output) error {
	why, err := n.testLive(ctx, s)
	if err != nil || why == "" {
		return err
	}
	for _, o := range outs {
		if strings.Contains(why, o.Path) || strings.Contains(why, o.real) {
			return nil // it is our file that is missing or broken
		}
	}
	return brokenOnDisk(why)
}

func brokenOnDisk(why string) error {
	return step.Errorf(step.Test, "mend it until `nginx -t` passes; lbd has changed nothing and tries again",
		"the configuration on disk is broken, our change aside: %s", why)
}

// run runs `nginx -t` or `nginx -T` on conf. said is what it wrote to standard error.
func (n *Nginx) run(ctx context.Context, s setup, flag, conf string) (dump []byte, said string, err error) {
	ctx, cancel := context.WithTimeout(ctx, n.opt.TestTimeout)
	defer cancel()
	args := []string{flag, "-c", conf}
	if s.given {
		args = append(args, "-p", s.prefix)
	}
	if s.version >= 1019005 { // else it opens, and may create, the built-in error log
		args = append(args, "-e", "stderr")
	}
	if s.global != "" {
		args = append(args, "-g", s.global)
	}
	cmd := exec.CommandContext(ctx, s.path, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "NGINX=") }) // inherited sockets
	cmd.WaitDelay = time.Second
	began := time.Now()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	n.opt.Progress()
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("stopped after %v: %w", time.Since(began).Round(time.Millisecond), context.Cause(ctx))
	}
	return stdout.Bytes(), stderr.String(), err
}

// refused tells an answer of Nginx from a failure to ask.
func refused(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Exited()
}

// complaint picks from what Nginx said the lines that tell why it refused, without time, process and severity.
func complaint(said string) string {
	var why []string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		for _, severity := range []string{"[emerg] ", "[alert] ", "[crit] ", "[error] "} {
			if _, text, ok := strings.Cut(line, severity); ok {
				if pid, rest, ok := strings.Cut(text, "#"); ok && isDigits(pid) {
					_, text, _ = strings.Cut(rest, ": ")
				}
				if !slices.Contains(why, text) {
					why = append(why, text)
				}
			}
		}
	}
	if len(why) == 0 {
		why = append(why, strings.TrimSpace(said))
	}
	const enough = 2048
	text := strings.Join(why, "; ")
	return text[:min(len(text), enough)]
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
