package render

import (
	"fmt"
	"maps"
	"strings"
	"text/template"
)

// functions is the closed set of functions in a template. From text/template's own, those are left out that have
// nothing to do here: html, js and urlquery escape for other languages and would look like safety; call has nothing
// to call.
//
// Nothing here reads a file, the environment, the clock or a random source: the same view gives the same bytes.
var functions = template.FuncMap{
	"quote":     func(v any) string { return quoted(raw(v)) },
	"comment":   func(v ...any) string { return commented(words(v)) },
	"default":   orDefault,
	"hasPrefix": func(prefix string, v any) bool { return strings.HasPrefix(raw(v), prefix) },
	"add":       func(a, b int) int { return a + b },
	"mul":       func(a, b int) int { return a * b },
}

// known has every name that a template may call, for the parser; text/template brings the builtin ones itself.
var known = func() map[string]any {
	all := maps.Clone(functions)
	for _, builtin := range []string{"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "index", "slice", "len",
		"print", "printf", "println"} {
		all[builtin] = fmt.Sprint // the parser looks at the name alone
	}
	return all
}()

// raw is v without the harmless form of a Text: only for what makes it harmless itself, or prints nothing of it.
func raw(v any) string {
	if t, ok := v.(Text); ok {
		return string(t)
	}
	return fmt.Sprint(v)
}

func words(list []any) string {
	all := make([]string, len(list))
	for i, v := range list {
		all[i] = raw(v)
	}
	return strings.Join(all, " ")
}

// orDefault returns value, or otherwise when value is empty: false, 0, "", an empty list or map.
func orDefault(otherwise, value any) any {
	if truth, ok := template.IsTrue(value); ok && truth {
		return value
	}
	return otherwise
}
