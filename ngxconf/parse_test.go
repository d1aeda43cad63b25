package ngxconf

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// show prints statements on one line: words in parentheses, blocks in braces.
func show(list []Statement) string {
	var b strings.Builder
	for _, s := range list {
		b.WriteByte('(')
		for i, w := range s.Words {
			if i > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprintf(&b, "%q", w.Text)
		}
		if s.HasBlock {
			b.WriteString(" {" + show(s.Block) + "}")
		}
		b.WriteByte(')')
	}
	return b.String()
}

func TestParse(t *testing.T) {
	for _, tc := range []struct{ src, want string }{
		{"", ""},
		{"a; b c; d {}", `("a")("b" "c")("d" {})`},
		{"http { map $a $b { default 1; include x; } server { listen 80; } } # end",
			`("http" {("map" "$a" "$b" {("default" "1")("include" "x")})("server" {("listen" "80")})})`},
		{"a { content_by_lua_block { if x then y = {1} end -- }\n } b; }", `("a" {("content_by_lua_block" {})("b")})`},
		{"set_by_lua_block $x { return '}' } a;", `("set_by_lua_block" "$x" {})("a")`},
	} {
		list, err := Parse([]byte(tc.src))
		if err != nil || show(list) != tc.want {
			t.Errorf("%q:\n got %s, %v\nwant %s", tc.src, show(list), err, tc.want)
		}
	}
}

func TestParsePlaces(t *testing.T) {
	src := "x;\n a b {\n c;\n} y;"
	list, err := Parse([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	s := list[1]
	if got := src[s.Start:s.End]; got != "a b {\n c;\n}" || s.Line != 2 || s.Block[0].Line != 3 || s.Name() != "a" {
		t.Errorf("got %q at line %d, %+v", got, s.Line, s)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tc := range []struct {
		src  string
		line int
		msg  string
	}{
		{"a;\n}", 2, `unexpected "}"`},
		{"a {\nb;\n", 3, `unexpected end of file, expecting "}"`},
		{"a { b }", 1, `unexpected "}"`},
		{"a { content_by_lua_block { } } }", 1, `unexpected "}"`},
	} {
		_, err := Parse([]byte(tc.src))
		var syn *SyntaxError
		if !errors.As(err, &syn) || syn.Line != tc.line || syn.Msg != tc.msg {
			t.Errorf("%q: got %v, want line %d: %s", tc.src, err, tc.line, tc.msg)
		}
	}
}

func TestParseDeepNesting(t *testing.T) {
	const depth = 1 << 16
	src := strings.Repeat("a{", depth) + strings.Repeat("}", depth)
	if list, err := Parse([]byte(src)); err != nil || len(list) != 1 {
		t.Fatalf("%d statements, %v", len(list), err)
	}
}

func TestLuaCode(t *testing.T) {
	for src, want := range map[string]string{
		"": "", "a()": "a()", "a() -- b()\nc()": "a() \nc()", "--[[ a()\nb() ]] c()": "\n c()", "--[==[ ]] ]==]d": "\nd", "a() -- b()": "a() ",
		`s = "-- no comment" t()`: `s = "-- no comment" t()`, "s = [[ -- none ]] t()": "s = [[ -- none ]] t()", "t[1] - -1": "t[1] - -1", "--[[ a()": "",
	} {
		if got := string(LuaCode([]byte(src))); got != want {
			t.Errorf("%q: %q, want %q", src, got, want)
		}
	}
}
