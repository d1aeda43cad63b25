// Package ngxconf reads Nginx configuration text the way Nginx does: the same tokens, the same refusals, on bytes.
// It knows the shape of statements and nothing of their meaning: no directive names (but the suffix
// "_by_lua_block"), no contexts, no includes, no variables. It does not open files and does not write.
package ngxconf

import (
	"fmt"
	"io"
	"strings"
)

// Kind is what a token is.
type Kind uint8

// The kinds of tokens. Comments and white space are none.
const (
	Word      Kind = iota // a directive's name or argument
	Semicolon             // ";", the end of a statement
	Open                  // "{"
	Close                 // "}"
)

// Token is one token of the text.
type Token struct {
	Kind       Kind
	Text       string // the value as Nginx sees it: without quotes, escapes undone
	Start, End int    // byte offsets of the raw form, quotes included
	Line       int    // of the first byte, counted from 1
	Quoted     bool   // the word stood in single or double quotes
}

// SyntaxError says where and why Nginx would refuse the text. Msg is in Nginx's words.
type SyntaxError struct {
	Line int
	Msg  string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Msg) }

// maxToken is NGX_CONF_BUFFER: Nginx refuses a word or a comment that does not fit into its read buffer.
const maxToken = 4096

// Lexer cuts text into tokens. Its state is that of ngx_conf_read_token (src/core/ngx_conf_file.c), so that it
// accepts and refuses exactly what Nginx does; the names of the fields are Nginx's, too.
type Lexer struct {
	src       []byte
	text      string // src again: words without an escape are pieces of it
	pos       int
	line      int
	start     int  // where the current word, comment or run of space began, for maxToken and for the word itself
	startLine int  // the line of start
	words     int  // of the current statement
	lua       bool // the first of them ends in _by_lua_block
	lastSpace bool // a new token may begin here
	needSpace bool // a quoted word just ended
	pending   Kind // the ";" or "{" that ended an unquoted word and is still to be returned; Word when none
	inLua     bool // the last token opened a Lua body
	err       error
}

// NewLexer returns a lexer at the beginning of src.
func NewLexer(src []byte) *Lexer {
	return &Lexer{src: src, text: string(src), line: 1, startLine: 1, lastSpace: true}
}

// Next returns the next token; after the last one io.EOF, and a *SyntaxError where Nginx would refuse the text.
// Either is final. The body of a *_by_lua_block is skipped: its Open is followed by its Close.
func (l *Lexer) Next() (Token, error) {
	if l.err != nil {
		return Token{}, l.err
	}
	tok, err := l.next()
	l.err = err
	return tok, err
}

func (l *Lexer) next() (Token, error) {
	if l.inLua {
		l.inLua = false
		return l.luaBody()
	}
	if l.pending != Word {
		kind := l.pending
		l.pending = Word
		return l.end(kind), nil
	}
	var (
		quote    byte // the open quote, or 0
		comment  bool
		quoted   bool // the byte before was a backslash
		variable bool // the byte before was "$", so that "{" belongs to the word
	)
	for {
		if l.pos-l.start >= maxToken && l.pos < len(l.src) {
			return Token{}, l.tooLong(quote)
		}
		if l.pos >= len(l.src) {
			if l.words > 0 || !l.lastSpace {
				return Token{}, l.fail(l.line, `unexpected end of file, expecting ";" or "}"`)
			}
			return Token{}, io.EOF
		}
		ch := l.src[l.pos]
		l.pos++
		if ch == '\n' {
			l.line++
			comment = false
		}
		switch {
		case comment:
			continue
		case quoted:
			quoted = false
			continue
		}
		if l.needSpace {
			l.needSpace = false
			switch {
			case isSpace(ch):
				l.lastSpace = true
				continue
			case ch == ';':
				return l.end(Semicolon), nil
			case ch == '{':
				return l.end(Open), nil
			case ch == ')':
				l.lastSpace = true // and it begins a new word
			default:
				return Token{}, l.unexpected(ch)
			}
		}
		if l.lastSpace {
			l.start, l.startLine = l.pos-1, l.line
			if isSpace(ch) {
				continue
			}
			switch ch {
			case ';', '{':
				if l.words == 0 {
					return Token{}, l.unexpected(ch)
				}
				if ch == '{' {
					return l.end(Open), nil
				}
				return l.end(Semicolon), nil
			case '}':
				if l.words > 0 {
					return Token{}, l.unexpected(ch)
				}
				return l.end(Close), nil
			case '#':
				comment = true
				continue
			case '\\':
				quoted = true
			case '"', '\'':
				quote = ch
				l.start++
			case '$':
				variable = true
			}
			l.lastSpace = false
			continue
		}
		if ch == '{' && variable {
			continue
		}
		variable = false
		switch {
		case ch == '\\':
			quoted = true
		case ch == '$':
			variable = true
		case quote != 0:
			if ch == quote {
				l.needSpace = true
				return l.word(l.start-1, l.pos, true), nil
			}
		case isSpace(ch), ch == ';', ch == '{':
			l.lastSpace = true
			switch ch {
			case ';':
				l.pending = Semicolon
			case '{':
				l.pending = Open
			}
			return l.word(l.start, l.pos-1, false), nil
		default:
			l.plain()
		}
	}
}

// plain goes over bytes that are part of a word whatever stands around them: the loop of next in short.
func (l *Lexer) plain() {
	for end := min(len(l.src), l.start+maxToken); l.pos < end && isPlain[l.src[l.pos]]; {
		l.pos++
	}
}

var isPlain = func() (plain [256]bool) {
	for c := range plain {
		plain[c] = strings.IndexByte(" \t\r\n;{\\$\"'", byte(c)) < 0
	}
	return plain
}()

// word returns src[from:to] as a word; l.pos stands behind the byte that ended it.
func (l *Lexer) word(from, to int, quoted bool) Token {
	text := unescape(l.text[l.start : l.pos-1])
	if l.words == 0 {
		l.lua = strings.HasSuffix(text, "_by_lua_block")
	}
	l.words++
	return Token{Kind: Word, Text: text, Start: from, End: to, Line: l.startLine, Quoted: quoted}
}

// end returns the one-byte token before l.pos and begins a new statement.
func (l *Lexer) end(kind Kind) Token {
	l.inLua = kind == Open && l.lua
	l.words, l.lua, l.lastSpace, l.needSpace = 0, false, true, false
	l.start, l.startLine = l.pos, l.line
	return Token{Kind: kind, Text: l.text[l.pos-1 : l.pos], Start: l.pos - 1, End: l.pos, Line: l.line}
}

func (l *Lexer) fail(line int, format string, args ...any) error {
	return &SyntaxError{Line: line, Msg: fmt.Sprintf(format, args...)}
}

func (l *Lexer) unexpected(ch byte) error { return l.fail(l.line, `unexpected "%c"`, ch) }

func (l *Lexer) tooLong(quote byte) error {
	if quote != 0 {
		return l.fail(l.startLine, `too long parameter, probably missing terminating "%c" character`, quote)
	}
	return l.fail(l.startLine, `too long parameter "%s..." started`, l.src[l.start:l.start+10])
}

func isSpace(ch byte) bool { return ch == ' ' || ch == '\t' || ch == '\r' || ch == '\n' }

// unescape undoes the escapes that Nginx knows; every other backslash stays.
func unescape(raw string) string {
	if strings.IndexByte(raw, '\\') < 0 {
		return raw
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\\' && i+1 < len(raw) {
			if at := strings.IndexByte(`"'\trn`, raw[i+1]); at >= 0 {
				i++
				out = append(out, "\"'\\\t\r\n"[at])
				continue
			}
		}
		out = append(out, raw[i])
	}
	return string(out)
}
