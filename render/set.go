package render

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/template"
	"text/template/parse"

	"github.com/hashicorp/go-multierror"

	"github.com/bazbeans/bazbeans/templates"
)

// Set is an immutable set of parsed templates: the built-in ones, and those of a folder, which come first.
type Set struct{ sources map[string]source }

// source is one template file.
type source struct {
	path string // or "built-in"
	text string
	tmpl *template.Template // nil when err is set
	err  error              // why it cannot be used, and there is no older version
}

const (
	builtIn     = "built-in"
	maxTemplate = 1 << 20 // bytes; a larger file is a mistake
)

// Load returns the built-in templates, covered by every *.tmpl of the folder dir ("": no folder). Links are followed;
// dotfiles and what is no regular file are passed over. Each file stands alone: {{define}} is for that file only.
//
// A file that cannot be read or parsed changes nothing: its version in old, which may be nil, stays in use. Without
// an old version rendering with it fails; it never falls back to a built-in one of the same name. err names each
// such file with its line (a *multierror.Error, or nil). The Set is never nil: when dir cannot be read it is old, or
// else the built-in templates alone.
func Load(dir string, old *Set) (*Set, error) {
	next := &Set{maps.Clone(shipped().sources)}
	if dir == "" {
		return next, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		if old != nil {
			next = old
		}
		return next, fmt.Errorf("read templates: %w", err)
	}
	var broken *multierror.Error
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".tmpl") || strings.HasPrefix(name, ".") {
			continue
		}
		src, err := readSource(filepath.Join(dir, name))
		if errors.Is(err, errNotRegular) {
			continue
		}
		if err != nil {
			broken = multierror.Append(broken, err)
			if last, ok := old.source(name); ok && last.err == nil {
				src = last
			}
		}
		next.sources[name] = src
	}
	if broken != nil {
		broken.ErrorFormat = func(errs []error) string { return errors.Join(errs...).Error() } // one a line
	}
	return next, broken.ErrorOrNil()
}

// Keep returns a copy of s in which the template name is the one of old: for a changed template that parses but
// cannot render today's nodes. Where old has none, neither has the copy.
func (s *Set) Keep(name string, old *Set) *Set {
	sources := maps.Clone(s.sources)
	delete(sources, name)
	if last, ok := old.source(name); ok {
		sources[name] = last
	}
	return &Set{sources}
}

// Source returns where the template comes from, a path or "built-in"; "" when there is none of that name.
func (s *Set) Source(name string) string { return s.sources[name].path }

// Own reports whether any template comes from a folder. A nil Set has none.
func (s *Set) Own() bool {
	if s == nil {
		return false
	}
	for _, src := range s.sources {
		if src.path != builtIn {
			return true
		}
	}
	return false
}

// Names lists the templates, sorted.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.sources)) }

// Equal reports whether both sets render alike: the same names, byte for byte the same texts.
func (s *Set) Equal(o *Set) bool {
	return s == o || s != nil && o != nil && maps.EqualFunc(s.sources, o.sources, func(a, b source) bool {
		return a.text == b.text && (a.err == nil) == (b.err == nil)
	})
}

func (s *Set) source(name string) (src source, ok bool) {
	if s != nil {
		src, ok = s.sources[name]
	}
	return src, ok
}

var errNotRegular = errors.New("not a regular file")

// readSource reads and parses one file. With an error, unless that is errNotRegular, the source carries it as well.
func readSource(path string) (source, error) {
	text, err := readFile(path)
	if err != nil {
		err = fmt.Errorf("read template: %w", err)
		return source{path: path, err: err}, err
	}
	src := source{path: path, text: text}
	src.tmpl, src.err = parseTemplate(path, text)
	return src, src.err
}

func readFile(path string) (string, error) {
	info, err := os.Stat(path) // before it is opened: a pipe would block
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errNotRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTemplate+1))
	if err == nil && len(text) > maxTemplate {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxTemplate)
	}
	return string(text), err
}

// parseTemplate parses text with the closed set of functions. Errors begin with place:LINE.
func parseTemplate(place, text string) (*template.Template, error) {
	trees, err := parse.Parse(place, text, "", "", known)
	if err != nil {
		return nil, placed(err)
	}
	tmpl := template.New(place).Funcs(functions).Option("missingkey=error")
	for name, tree := range trees {
		if _, err := tmpl.AddParseTree(name, tree); err != nil {
			return nil, placed(err)
		}
	}
	return tmpl, nil
}

// placed takes the word "template" from the head of an error of text/template, so that the place is what comes first.
func placed(err error) error {
	if text, ok := strings.CutPrefix(err.Error(), "template: "); ok {
		return errors.New(text)
	}
	return err
}

// shipped is the set of built-in templates. That they parse is for the tests to show.
var shipped = sync.OnceValue(func() *Set {
	set := &Set{map[string]source{}}
	names, err := fs.Glob(templates.FS, "*.tmpl")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(templates.FS, name)
		if err != nil {
			panic(err)
		}
		tmpl, err := parseTemplate(builtIn+" "+name, string(text))
		if err != nil {
			panic(err)
		}
		set.sources[name] = source{path: builtIn, text: string(text), tmpl: tmpl}
	}
	return set
})
