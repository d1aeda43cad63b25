package render

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bazbeans/bazbeans/step"
)

// Header is the first line of everything that is rendered.
const Header = "# Managed by lbd (BazBeans). Edits here will be overwritten: change the template or the pool instead.\n"

// maxOutput bounds what a template may write, in bytes, so that one that loops cannot eat the memory. 10,000 servers
// are less than 1 MiB.
const maxOutput = 16 << 20

// Render executes the view's template, puts Header before its output and checks the whole (see Check). An error is
// a *step.Error; where the template is at fault it begins with file:line.
func (s *Set) Render(v View) ([]byte, error) {
	src, ok := s.sources[v.template]
	if !ok {
		return nil, step.Errorf(step.Render, "there is "+strings.Join(s.Names(), ", "),
			"upstream %s: no template %q", v.Name, v.template)
	}
	if src.err != nil {
		return nil, step.Errorf(step.Render, "mend the template, or remove it: then a built-in one of that name is used",
			"upstream %s: %w", v.Name, src.err)
	}
	out := output{room: maxOutput}
	out.WriteString(Header)
	if err := src.tmpl.Execute(&out, v); err != nil {
		return nil, step.Errorf(step.Render, "docs/templates.md lists the fields and functions",
			"upstream %s: %w", v.Name, inTemplate(src, err))
	}
	if !bytes.HasSuffix(out.Bytes(), []byte("\n")) {
		out.WriteString("\n")
	}
	refused := func(err error) ([]byte, error) {
		return nil, step.Errorf(step.Render, "docs/templates.md says what a template may write",
			"upstream %s: template %s: %w", v.Name, src.path, err)
	}
	text := out.Bytes()
	if v.Live != "" {
		// It is ours and no template's: a live engine answers for it.
		before, after, ok := bytes.Cut(text, []byte(v.Live))
		if !ok {
			return refused(&NotLive{"it has no {{.Live}}"})
		}
		lines := bytes.Repeat([]byte("\n"), strings.Count(v.Live, "\n")) // so that errors name the right ones
		text = slices.Concat(before, lines, after)
	}
	if err := Check(v, text); err != nil {
		return refused(err)
	}
	return out.Bytes(), nil
}

// NotLive says why a template can't be used with a live engine. It can be with reloads.
type NotLive struct{ Why string }

func (e *NotLive) Error() string { return "it can't be used live: " + e.Why }

var errTooMuch = fmt.Errorf("the output is larger than %d bytes", maxOutput)

// inTemplate names the file where text/template does not: an error of the writer comes back bare.
func inTemplate(src source, err error) error {
	if errors.Is(err, errTooMuch) {
		return fmt.Errorf("%s: %w", src.path, err)
	}
	return placed(err)
}

// output is a buffer that refuses what is beyond its room.
type output struct {
	bytes.Buffer
	room int
}

func (o *output) Write(p []byte) (int, error) {
	if o.Len()+len(p) > o.room {
		return 0, errTooMuch
	}
	return o.Buffer.Write(p)
}
