// Command man writes the manual pages: bbctl's from its commands, lbd's and bbagent's from their help. It is a program
// of its own, so that what it needs is linked into none of them.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/bazbeans/bazbeans/agent"
	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/ctl"
	"github.com/bazbeans/bazbeans/harness"
	"github.com/bazbeans/bazbeans/lbd"
)

func main() { cli.Main(run) }

// run writes all pages into the folder that is named.
func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	if len(args) != 1 {
		return cli.Report(stderr, "man", cli.Usagef("name the folder to write to: man DIR"))
	}
	n, err := write(ctx, args[0])
	if err == nil {
		fmt.Fprintf(stdout, "%d pages in %s; read one: man %s\n", n, args[0], filepath.Join(args[0], "bbctl.1"))
	}
	return cli.Report(stderr, "man", err)
}

func write(ctx context.Context, dir string) (pages int, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	root := ctl.Command()
	prepare(root)
	date := time.Time{} // no date: the same source gives the same pages
	if err := doc.GenManTree(root, &doc.GenManHeader{Source: "BazBeans", Manual: "BazBeans", Date: &date}, dir); err != nil {
		return 0, err
	}
	program := lbd.Program{Commands: []lbd.Command{harness.Command}}
	for _, d := range []struct {
		name, is string
		main     func(context.Context, []string, io.Reader, io.Writer, io.Writer) int
		help     []string
	}{
		{"lbd", "keep an Nginx in step with the pool of nodes", program.Main, []string{"--help"}},
		{"lbd-test", "play cases with templates in a real Nginx", program.Main, []string{"test", "--help"}},
		{"bbagent", "keep a node in the pool", agent.Main, []string{"--help"}},
	} {
		var help, said bytes.Buffer
		if code := d.main(ctx, d.help, strings.NewReader(""), &help, &said); code != cli.Done {
			return 0, fmt.Errorf("%s --help: exit code %d: %s", d.name, code, said.String())
		}
		if err := os.WriteFile(filepath.Join(dir, d.name+".8"), page(d.name, d.is, help.String()), 0o644); err != nil {
			return 0, err
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.[18]"))
	return len(files), err
}

// prepare makes Markdown of help texts, for that is what the generator reads: lists and tables, which are indented,
// stay as they are, and nothing in a sentence is a sign.
func prepare(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true
	var b strings.Builder
	indented := false
	for line := range strings.Lines(cmd.Long) {
		if is := strings.HasPrefix(line, "  "); is != indented {
			indented = is
			b.WriteByte('\n')
		}
		if indented {
			b.WriteString("    " + line)
		} else {
			b.WriteString(sign.ReplaceAllString(line, `\$0`))
		}
	}
	cmd.Long = b.String()
	for _, c := range cmd.Commands() {
		prepare(c)
	}
}

var sign = regexp.MustCompile("[*_<>`]")

// page is a manual page around a help text, which stays as it is.
func page(name, is, help string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, ".TH %s 8 \"\" BazBeans BazBeans\n.SH NAME\n%s \\- %s\n.SH DESCRIPTION\n.nf\n", strings.ToUpper(name), name, is)
	for line := range strings.Lines(help) {
		line = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(line)
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		b.WriteString(line)
	}
	b.WriteString(".fi\n")
	return b.Bytes()
}
