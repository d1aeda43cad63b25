package lbd

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/pool"
)

// Every code that the program can print is explained, and nothing else is.
func TestThePageExplainsEachCode(t *testing.T) {
	used := map[string]bool{}
	files, err := filepath.Glob("doctor*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			var code ast.Expr
			switch n := n.(type) {
			case *ast.KeyValueExpr: // finding{Code: "…"}
				if key, is := n.Key.(*ast.Ident); is && key.Name == "Code" {
					code = n.Value
				}
			case *ast.CallExpr: // d.ok("…", …)
				if f, is := n.Fun.(*ast.SelectorExpr); is && (f.Sel.Name == "ok" || f.Sel.Name == "checkSpace") {
					code = n.Args[0]
				}
			}
			if text, is := code.(*ast.BasicLit); is {
				used[strings.Trim(text.Value, `"`)] = true
			}
			return true
		})
	}
	explained := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^### `([a-z0-9-]+)`$").FindAllStringSubmatch(page(t, "doctor.md"), -1) {
		if explained[m[1]] {
			t.Errorf("%s is explained twice", m[1])
		}
		explained[m[1]] = true
	}
	if got, want := slices.Sorted(maps.Keys(explained)), slices.Sorted(maps.Keys(used)); !slices.Equal(got, want) {
		t.Errorf("the page explains\n%v\nthe program has\n%v", got, want)
	}
}

// The user that the doctor makes is that of docs/redis.md.
func TestTheDoctorsUserIsThePages(t *testing.T) {
	line := regexp.MustCompile(`(?m)^user lbd on >SECRET (.*)$`).FindStringSubmatch(page(t, "redis.md"))
	if line == nil {
		t.Fatal("docs/redis.md has no user lbd")
	}
	want, got := strings.Fields(line[1]), strings.Fields(strings.Join(pool.LBRights(pool.Config{}), " "))
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the doctor's user has\n%v\nthe page's\n%v", got, want)
	}
}
