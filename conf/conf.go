// Package conf reads a configuration file strictly: an unknown key or a value of a wrong type is an error that names
// file, line and key, and all errors are found at once. It knows nothing of what the settings mean.
package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Load reads a YAML file into dst, a pointer to a struct with yaml tags that holds the defaults. ${NAME} in a value
// is replaced by that environment variable, for secrets; an unset one is an error. On error dst is half filled.
func Load(path string, dst any) error {
	src, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	if err := Decode(src, dst); err != nil {
		return InFile(path, err)
	}
	return nil
}

// Decode is Load for text at hand; the lines of the error begin with "line N: ".
func Decode(src []byte, dst any) error {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(src))
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil // an empty file changes no default
		}
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	switch err := dec.Decode(new(yaml.Node)); {
	case err == nil:
		return errors.New("only one YAML document is expected")
	case !errors.Is(err, io.EOF):
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return decode(&doc, "", dst, false)
}

// DecodeNode is Decode for a document, or a part of one, that was read already; ${NAME} is not looked for. Errors name
// a part by its path, like "resolvers[0].dns".
func DecodeNode(n *yaml.Node, path string, dst any) error { return decode(n, path, dst, true) }

func decode(n *yaml.Node, path string, dst any, literal bool) error {
	w := walker{keys: map[int]string{}, literal: literal}
	w.walk(n, reflect.TypeOf(dst), path)
	var te *yaml.TypeError
	switch err := n.Decode(dst); {
	case errors.As(err, &te):
		for _, e := range te.Errors {
			w.errs = append(w.errs, w.named(e))
		}
	case err != nil:
		w.errs = append(w.errs, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(w.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(w.errs, func(a, b string) int { return lineOf(a) - lineOf(b) })
	return errors.New(strings.Join(w.errs, "\n"))
}

// Errorf is what an UnmarshalYAML method returns, so that its error takes its place among all others of the file.
func Errorf(n *yaml.Node, format string, args ...any) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: ", n.Line) + fmt.Sprintf(format, args...)}}
}

// walker looks for unknown keys, puts in ${NAME}, and notes which key stands on which line.
type walker struct {
	errs []string
	keys map[int]string
	flow bool // inside [a, b] or {a: b}: several on a line, named by the outermost

	literal bool // ${NAME} has been put in already
}

var (
	unmarshaler = reflect.TypeFor[yaml.Unmarshaler]()
	variable    = regexp.MustCompile(`\$\{([^}]*)\}`)
)

func (w *walker) walk(n *yaml.Node, t reflect.Type, path string) {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t != nil && reflect.PointerTo(t).Implements(unmarshaler) && (t.Kind() != reflect.Struct || len(fieldsOf(t)) == 0) {
		t = nil // it reads its own form
	}
	if path != "" && !w.flow {
		w.keys[n.Line] = path // the innermost wins: in block style each has a line of its own
	}
	if n.Style&yaml.FlowStyle != 0 && !w.flow {
		w.flow = true
		defer func() { w.flow = false }()
	}
	switch n.Kind {
	case yaml.DocumentNode:
		for _, c := range n.Content {
			w.walk(c, t, path)
		}
	case yaml.ScalarNode:
		if w.literal {
			return
		}
		n.Value = variable.ReplaceAllStringFunc(n.Value, func(m string) string {
			v, ok := os.LookupEnv(m[2 : len(m)-1])
			if !ok {
				w.errs = append(w.errs, fmt.Sprintf("line %d: %s: the environment variable %s is not set", n.Line, path, m[2:len(m)-1]))
			}
			return v
		})
	case yaml.SequenceNode:
		for i, c := range n.Content {
			var e reflect.Type
			if t != nil && t.Kind() == reflect.Slice {
				e = t.Elem()
			}
			w.walk(c, e, fmt.Sprintf("%s[%d]", path, i))
		}
	case yaml.MappingNode:
		w.mapping(n, t, path)
	}
}

func (w *walker) mapping(n *yaml.Node, t reflect.Type, path string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := strings.TrimPrefix(path+"."+key.Value, ".")
		var e reflect.Type
		switch {
		case t == nil:
		case t.Kind() == reflect.Map:
			e = t.Elem()
		case t.Kind() == reflect.Struct:
			fields := fieldsOf(t)
			if e = fields[key.Value]; e == nil {
				w.errs = append(w.errs, fmt.Sprintf("line %d: %s: unknown key%s", key.Line, name, suggest(key.Value, fields)))
			}
		}
		w.walk(value, e, name)
	}
}

// fieldsOf maps the keys of a struct to the types of their values.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	m := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case strings.Contains(opts, "inline"):
			for k, v := range fieldsOf(f.Type) {
				m[k] = v
			}
		case name != "" && name != "-":
			m[name] = f.Type
		}
	}
	return m
}

func suggest(key string, fields map[string]reflect.Type) string {
	names := make([]string, 0, len(fields))
	for k := range fields {
		if strings.EqualFold(strings.NewReplacer("_", "", "-", "").Replace(k), strings.NewReplacer("_", "", "-", "").Replace(key)) {
			return fmt.Sprintf(" (did you mean %q?)", k)
		}
		names = append(names, k)
	}
	slices.Sort(names)
	return " (known: " + strings.Join(names, ", ") + ")"
}

var goType = regexp.MustCompile(` into \S+$`)

// named puts the key into an error of the decoder, and its words into ours.
func (w *walker) named(e string) string {
	line := lineOf(e)
	_, text, found := strings.Cut(e, ": ")
	if !found || line == 0 {
		return e
	}
	text = goType.ReplaceAllStringFunc(text, func(s string) string { return ", want " + want(strings.TrimPrefix(s, " into ")) })
	text = strings.Replace(text, "cannot unmarshal !!", "not allowed: ", 1)
	if key := w.keys[line]; key != "" {
		return fmt.Sprintf("line %d: %s: %s", line, key, text)
	}
	return fmt.Sprintf("line %d: %s", line, text)
}

// want says what a Go type is to the writer of a file.
func want(goType string) string {
	switch {
	case strings.Contains(goType, "Duration"):
		return "a time like 10s or 1m30s"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	case strings.HasPrefix(goType, "int"), strings.HasPrefix(goType, "uint"), strings.HasPrefix(goType, "float"):
		return "a number (" + goType + ")"
	case goType == "bool":
		return "true or false"
	case goType == "string":
		return "a text"
	}
	return "a mapping"
}

func lineOf(e string) int {
	text, ok := strings.CutPrefix(e, "line ")
	if !ok {
		return 0
	}
	text, _, _ = strings.Cut(text, ":")
	n, _ := strconv.Atoi(text)
	return n
}

// InFile turns each "line N: …" of err into "path:N: …".
func InFile(path string, err error) error {
	lines := strings.Split(err.Error(), "\n")
	for i, l := range lines {
		if rest, ok := strings.CutPrefix(l, "line "); ok {
			lines[i] = path + ":" + rest
		} else {
			lines[i] = path + ": " + l
		}
	}
	return errors.New(strings.Join(lines, "\n"))
}
