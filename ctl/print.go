package ctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// format is the flag -o.
type format string

const (
	asTable format = "table"
	asWide  format = "wide"
	asJSON  format = "json"
	asYAML  format = "yaml"
)

var formats = []string{string(asTable), string(asWide), string(asJSON), string(asYAML)}

// String, Set and Type make it a pflag.Value.
func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }
func (f *format) Set(s string) error {
	if !slices.Contains(formats, s) {
		return fmt.Errorf("want %s", or(formats))
	}
	*f = format(s)
	return nil
}

// data reports whether a program reads the output.
func (f format) data() bool { return f == asJSON || f == asYAML }

// show prints what a verb found: view as JSON or YAML, or what text makes of it for people.
func (s *session) show(view any, text func(w *bytes.Buffer)) error {
	if s.output.data() {
		return s.print(view, "  ")
	}
	var b bytes.Buffer
	text(&b)
	return s.write(b.Bytes())
}

// print prints view as JSON or YAML; JSON without an indent is one line.
func (s *session) print(view any, indent string) error {
	b, err := encode(s.output, view, indent)
	if err != nil {
		return fmt.Errorf("encode output: %w", err)
	}
	return s.write(b)
}

// write prints a whole answer in one write.
func (s *session) write(b []byte) error {
	if _, err := s.stdout.Write(b); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// encode turns view into JSON or YAML that is safe on a terminal, too: what a terminal might obey is escaped, which
// changes nothing for a program. The YAML has the keys and the order of the JSON.
func encode(f format, view any, indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(view); err != nil {
		return nil, err
	}
	if f == asJSON {
		return escape(b.Bytes(), utf16Escape), nil
	}
	// JSON is YAML, but for how it escapes what lies beyond U+FFFF.
	var doc yaml.Node
	if err := yaml.Unmarshal(escape(b.Bytes(), yamlEscape), &doc); err != nil {
		return nil, err
	}
	block(&doc)
	b.Reset()
	y := yaml.NewEncoder(&b)
	y.SetIndent(2)
	if err := y.Encode(&doc); err != nil {
		return nil, err
	}
	return escape(b.Bytes(), yamlEscape), nil
}

// block takes JSON's style off a YAML document; only a text that needs escapes keeps its quotes.
func block(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && strings.ContainsFunc(n.Value, func(r rune) bool { return !strconv.IsPrint(r) }) {
		n.Style = yaml.DoubleQuotedStyle
	}
	if len(n.Content) == 0 && n.Kind != yaml.ScalarNode {
		n.Style = yaml.FlowStyle // [] and {}
	}
	for _, c := range n.Content {
		block(c)
	}
}

// escape puts an escape for each character that is not printable; in JSON, and in YAML made by block, such stand in
// quoted texts only.
func escape(text []byte, one func(rune) string) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		if r == '\n' || strconv.IsPrint(r) {
			out = utf8.AppendRune(out, r)
		} else {
			out = append(out, one(r)...)
		}
	}
	return out
}

func utf16Escape(r rune) string {
	if hi, lo := utf16.EncodeRune(r); hi != utf8.RuneError {
		return fmt.Sprintf(`\u%04x\u%04x`, hi, lo)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

func yamlEscape(r rune) string { return fmt.Sprintf(`\U%08X`, r) }
