// Package packaging is what .deb and .rpm packages and releases are made of, and tests that install them in a booted
// Debian, by the commands of docs/deploy-package.md. It holds no code.
package packaging

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/agent"
	"github.com/bazbeans/bazbeans/conf"
	"github.com/bazbeans/bazbeans/lbd"
	"github.com/bazbeans/bazbeans/pool"
)

// setting is a line of a config that is commented out: no single blank follows the #.
var setting = regexp.MustCompile(`(?m)^#( {2,}|)([\w-])`)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The config that we ship changes nothing, and neither do its settings when all are uncommented: they are the defaults.
func TestConfigsSayTheDefaults(t *testing.T) {
	t.Run("lbd", func(t *testing.T) {
		want := lbd.DefaultConfig()
		want.Redis.URL = pool.DefaultURL
		text := read(t, "lbd/lbd.yaml")
		if got := decode(t, text, lbd.DefaultConfig()); !reflect.DeepEqual(got, want) {
			t.Errorf("as shipped:\n%+v, want\n%+v", got, want)
		}
		// Those of lists are put in where they are named.
		least := "upstreams: [{name: app_backend, output: /etc/nginx/conf.d/upstream.conf}]\nresolvers: [{redis: {}}]\n"
		want = decode(t, least, want)
		want.ID, want.Redis.KeyPrefix = "lb1", "bazbeans"
		if got := decode(t, uncommented(text), lbd.DefaultConfig()); !equal(got, want) {
			t.Errorf("uncommented:\n%+v, want\n%+v", got, want)
		}
		named(t, text, reflect.TypeFor[lbd.Config]())
	})
	t.Run("bbagent", func(t *testing.T) {
		text := read(t, "agent/bbagent.yaml")
		want := agent.Defaults()
		if got := decode(t, text, agent.Defaults()); !reflect.DeepEqual(got, want) {
			t.Errorf("as shipped:\n%+v, want\n%+v", got, want)
		}
		want.NodeID, want.Redis.KeyPrefix = "web1", "bazbeans"
		if got := decode(t, uncommented(text), agent.Defaults()); !equal(got, want) {
			t.Errorf("uncommented:\n%+v, want\n%+v", got, want)
		}
		named(t, text, reflect.TypeFor[agent.Config]())
	})
}

func uncommented(text string) string { return setting.ReplaceAllString(text, "$1$2") }

func decode[T any](t *testing.T, text string, into T) T {
	t.Helper()
	if err := conf.Decode([]byte(text), &into); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return into
}

// equal is reflect.DeepEqual, to which an empty list is none.
func equal(a, b any) bool { return alike(reflect.ValueOf(a), reflect.ValueOf(b)) }

func alike(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if a.Type().Field(i).IsExported() && !alike(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		for i := range min(a.Len(), b.Len()) {
			if !alike(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return a.Len() == b.Len()
	case reflect.Map:
		return a.Len() == 0 && b.Len() == 0 || reflect.DeepEqual(a.Interface(), b.Interface())
	case reflect.Pointer:
		return a.IsNil() == b.IsNil() && (a.IsNil() || alike(a.Elem(), b.Elem()))
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// lists are keys whose value is one of many kinds, told of in the pages.
var lists = []string{"resolvers", "checks", "service"}

// named fails for each key that the program takes and the file does not say.
func named(t *testing.T, text string, typ reflect.Type) {
	t.Helper()
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct {
		return
	}
	for f := range typ.Fields() {
		key, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case key == "-" || !f.IsExported():
			continue
		case options == "inline":
			named(t, text, f.Type)
			continue
		case !regexp.MustCompile(`(?m)^#?[ -]*(.*[{,] ?)?` + key + `:`).MatchString(text):
			t.Errorf("the file does not name the key %s (%s): explain it there, with its default", key, typ)
		}
		if !slices.Contains(lists, key) {
			named(t, text, f.Type)
		}
	}
}
