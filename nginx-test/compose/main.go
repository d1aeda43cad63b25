// Command compose plays the harness in containers (make harness): for each
// Nginx image it plays the cases of `lbd test`, brings up the site of
// nginx-test/compose.yml, tells it stories under traffic, and removes all of it
// again; at the end `lbd test --from` prints one table of all. With --local it
// plays the cases on this machine and tells no stories. It is also the program
// of the site's sample nodes and of its client.
//
// It knows nothing of cases and templates: lbd does, inside the containers. It
// needs docker and compose, and starts an engine only where none runs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	signal.Ignore(syscall.SIGPIPE) // who looks may go away; what we have started does not go by itself
	err := dispatch(ctx, os.Args[1:])
	if told := tested(0); errors.As(err, &told) {
		os.Exit(int(told))
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) == 2 {
		switch args[0] {
		case "node":
			return serveNode(ctx, args[1])
		case "client":
			return sendTraffic(ctx, args[1], os.Stdin, os.Stdout)
		case "get":
			return get(ctx, args[1], os.Stdout)
		}
	}
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if o.local {
		return o.playLocal(ctx)
	}
	return o.play(ctx)
}

// options are those of `make harness`.
type options struct {
	images    string
	local     bool
	nginx     []string // binaries; none: the one in PATH
	templates string
	cases     string
	fixture   string
	golden    string
	include   string
	modules   string
	more      []string // for lbd test
	junit     string
	update    bool
	show      bool
	keep      bool
	bin       string
	file      string
}

func parse(args []string) (*options, error) {
	o := new(options)
	fs := flag.NewFlagSet("harness", flag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprintln(fs.Output(), "Usage: harness [flags] [-- further flags of lbd test, like --only 'ip-*']")
		fs.PrintDefaults()
	}
	fs.StringVar(&o.images, "images", "nginx:1.28", "Nginx `images`, with spaces between; debian:bookworm, debian:trixie and debian:sid are made here and not pulled")
	fs.BoolVar(&o.local, "local", false, "without Docker: the cases on this machine's Nginx, and no stories")
	fs.Func("nginx", "with --local: an Nginx `binary` (repeatable)", func(binary string) error {
		o.nginx = append(o.nginx, binary)
		return nil
	})
	fs.StringVar(&o.templates, "templates", "", "templates `folder` (default: the built-in ones)")
	fs.StringVar(&o.cases, "cases", "", "cases `folder` (default: "+standardCases+")")
	fs.StringVar(&o.fixture, "fixture", "", "a node list `file`, as for lbd render, as one more case")
	fs.StringVar(&o.golden, "golden", "", "`folder` of golden files (default: golden in the cases folder)")
	fs.StringVar(&o.junit, "junit", "", "write JUnit XML to this `file`")
	fs.StringVar(&o.include, "include", "", "a `file` with what the templates need at http level: maps, log formats")
	fs.StringVar(&o.modules, "modules", "", "`modules` that Nginx loads, with commas between: paths, or names in its modules folder (default, for the site: those that Debian enables)")
	fs.BoolVar(&o.update, "update", false, "write the golden texts")
	fs.BoolVar(&o.show, "show", false, "print what was rendered, too")
	fs.BoolVar(&o.keep, "keep", false, "leave the sites running, and say how to look at them and remove them")
	fs.StringVar(&o.bin, "bin", "bin", "`folder` of the static programs lbd, bbagent, bbctl and harness")
	fs.StringVar(&o.file, "file", "nginx-test/compose.yml", "the compose `file`")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if o.more = fs.Args(); len(o.more) > 0 && !slices.Contains(args, "--") {
		return nil, fmt.Errorf("%q is not expected; see --help", fs.Arg(0))
	}
	if err := o.agree(fs); err != nil {
		return nil, err
	}
	// The golden files in that folder are what lbd's own template writes, and nobody else's. Without it lbd plays the
	// same cases, which are in it, and compares nothing.
	if o.cases == "" && o.templates == "" {
		o.cases = standardCases
	}
	return o, nil
}

// standardCases is the folder of the standard cases in a checkout.
const standardCases = "nginx-test/cases"

// agree refuses flags that mean nothing beside --local, or without it, and golden files of nobody.
func (o *options) agree(fs *flag.FlagSet) (err error) {
	if o.update && o.templates != "" && o.cases == "" && o.golden == "" {
		err = errors.New("--update with --templates needs a folder of yours for the golden files: --golden FOLDER (make harness GOLDEN=FOLDER)")
	}
	fs.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "images", "keep", "file":
			if o.local {
				err = fmt.Errorf("--%s is about containers, and --local is without", f.Name)
			}
		case "nginx":
			if !o.local {
				err = errors.New("--nginx goes with --local; without, --images says which Nginx")
			}
		}
	})
	return err
}

// get prints what a URL answers, in a container that has no program for that.
func get(ctx context.Context, url string, stdout io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, strings.TrimSpace(string(text)))
	}
	if err != nil {
		return err
	}
	_, err = stdout.Write(text)
	return err
}
