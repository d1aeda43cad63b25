package ngxconf

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// lex returns all tokens of src and the error that ended them, nil for io.EOF.
func lex(src string) ([]Token, error) {
	var toks []Token
	for l := NewLexer([]byte(src)); ; {
		tok, err := l.Next()
		if errors.Is(err, io.EOF) {
			return toks, nil
		}
		if err != nil {
			return toks, err
		}
		toks = append(toks, tok)
	}
}

func TestLexerValues(t *testing.T) {
	for _, tc := range []struct {
		src  string
		want []string
	}{
		{``, nil},
		{" \t\r\n# only a comment", nil},
		{`a;`, []string{"a", ";"}},
		{`a b{c;}`, []string{"a", "b", "{", "c", ";", "}"}},
		{`a "b c" 'd;e';`, []string{"a", "b c", "d;e", ";"}},
		{`a "q\"q" 'q\'q' \\ \t\n\r x\y;`, []string{"a", `q"q`, `q'q`, `\`, "\t\n\r", `x\y`, ";"}},
		{`a ${b}c $ {}`, []string{"a", "${b}c", "$", "{", "}"}},
		{`a "${b}" '$';`, []string{"a", "${b}", "$", ";"}},
		{`a b#c; # d`, []string{"a", "b#c", ";"}},
		{`a b"c;`, []string{"a", `b"c`, ";"}},
		{`if ("a") {}`, []string{"if", `("a")`, "{", "}"}},
		{`if ( "a") {}`, []string{"if", "(", "a", ")", "{", "}"}},
		{`a \;b;`, []string{"a", `\;b`, ";"}},
		{`a "";`, []string{"a", "", ";"}},
		{"a b}c;", []string{"a", "b}c", ";"}},
		{"a\xff \x00b;", []string{"a\xff", "\x00b", ";"}},
	} {
		toks, err := lex(tc.src)
		if err != nil {
			t.Errorf("%q: %v", tc.src, err)
		}
		var got []string
		for _, tok := range toks {
			got = append(got, tok.Text)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%q:\n got %q\nwant %q", tc.src, got, tc.want)
		}
	}
}

func TestLexerPlaces(t *testing.T) {
	src := "a 'b\nc'\n\"d\" {\n}"
	want := []Token{
		{Word, "a", 0, 1, 1, false},
		{Word, "b\nc", 2, 7, 1, true},
		{Word, "d", 8, 11, 3, true},
		{Open, "{", 12, 13, 3, false},
		{Close, "}", 14, 15, 4, false},
	}
	if got, err := lex(src); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v\nwant %v", got, err, want)
	}
}

func TestLexerRefuses(t *testing.T) {
	for _, tc := range []struct {
		src  string
		line int
		msg  string
	}{
		{"a", 1, `unexpected end of file, expecting ";" or "}"`},
		{"a 'b", 1, `unexpected end of file, expecting ";" or "}"`},
		{"\n;", 2, `unexpected ";"`},
		{"{", 1, `unexpected "{"`},
		{"a }", 1, `unexpected "}"`},
		{"a 'b'c;", 1, `unexpected "c"`},
		{"a 'b'#c\n;", 1, `unexpected "#"`},
		{"a\n" + strings.Repeat("x", 4097) + ";", 2, `too long parameter "xxxxxxxxxx..." started`},
		{"a '" + strings.Repeat("x", 4097) + "';", 1, `too long parameter, probably missing terminating "'" character`},
		{"#" + strings.Repeat("x", 4096) + "\n", 1, `too long parameter "#xxxxxxxxx..." started`},
		{"x_by_lua_block {\n {", 1, "unexpected end of file, expecting terminating characters for lua code block"},
	} {
		_, err := lex(tc.src)
		var syn *SyntaxError
		if !errors.As(err, &syn) || syn.Line != tc.line || syn.Msg != tc.msg {
			t.Errorf("%.40q: got %v, want line %d: %s", tc.src, err, tc.line, tc.msg)
		}
	}
}

func TestErrorsStay(t *testing.T) {
	l := NewLexer([]byte("; a;"))
	_, first := l.Next()
	if _, again := l.Next(); first == nil || !errors.Is(again, first) {
		t.Errorf("first %v, then %v", first, again)
	}
}

func FuzzLexer(f *testing.F) {
	for _, seed := range []string{
		"a b;", "a { b 'c' ${d} }", `a "\"" \;;`, "# c\na;", "x_by_lua_block { '}' --[[ } ]] }", "a 'b') {", "a\\",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		toks, err := lex(string(src))
		at, line := 0, 1
		for _, tok := range toks {
			if tok.Start < at || tok.End <= tok.Start || tok.End > len(src) || tok.Line < line {
				t.Fatalf("token out of order: %+v after %d, line %d", tok, at, line)
			}
			if tok.Kind == Word && !tok.Quoted && !strings.Contains(tok.Text, `\`) &&
				strings.IndexByte(string(src[tok.Start:tok.End]), '\\') < 0 && tok.Text != string(src[tok.Start:tok.End]) {
				t.Fatalf("raw form %q, value %q", src[tok.Start:tok.End], tok.Text)
			}
			at, line = tok.End, tok.Line
		}
		list, parseErr := Parse(src)
		if err != nil && parseErr == nil {
			t.Fatalf("Parse accepts %d statements, the lexer refuses: %v", len(list), err)
		}
	})
}
