package dev

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bazbeans/bazbeans/pool"
)

// picture draws a view as the lines of a terminal. It is pure.
type picture struct {
	width, height int
	colour        bool
	url, log      string
	try           []string // commands for a second terminal
	keys          string   // what keys do; "" when there are none
}

// told is a line of news with its time.
type told struct {
	at   time.Time
	text string
}

// Colours, as SGR parameters.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// draw returns at most height lines of at most width cells. What does not fit goes in this order: old news, commands,
// the last nodes.
func (p *picture) draw(v *view, last *applied, news []told) []string {
	top := p.head(v)
	totals := p.totals(v, last)
	try := p.foot()
	room := p.height - len(top) - len(totals)

	rows := p.rows(v, max(room, 1))
	room -= len(rows)
	if room < len(try) {
		try = nil
	}
	room -= len(try)
	lines := append(append(top, rows...), totals...)
	if most := min(len(news), room-1); most > 0 {
		lines = append(lines, "")
		for _, n := range news[len(news)-most:] {
			lines = append(lines, p.line().put(dim, " "+n.at.Format(time.TimeOnly)).put("", "  "+n.text).String())
		}
	}
	lines = append(lines, try...)
	return lines[:min(len(lines), p.height)]
}

func (p *picture) head(v *view) []string {
	up := "up " + v.up.Truncate(time.Second).String()
	l := p.line().put(bold, " BazBeans demo").put("", "   ").put(cyan, p.url)
	return []string{
		l.pad(p.width-len(up)-1).put(dim, up).String(),
		"",
	}
}

// rows are the table of nodes, in at most that many lines.
func (p *picture) rows(v *view, most int) []string {
	wide := 4
	for i := range v.nodes {
		wide = max(wide, len(v.nodes[i].id))
	}
	name := wide + 3
	lines := []string{p.line().put(dim, " NODE").pad(name).put(dim, "ADDRESS").pad(name+18).put(dim, "STATE").pad(name+30).put(dim, "REQ/S").String()}
	show := len(v.nodes)
	if show+1 > most {
		show = max(most-2, 0)
	}
	for i := range show {
		n := &v.nodes[i]
		state, colour := n.shown()
		l := p.line().put(bold, " "+n.id).pad(name).put("", n.addr).pad(name+18).put(colour, state)
		l.pad(name+29).put("", fmt.Sprintf("%6.0f", n.rate)).put("", "  ")
		if why := n.says(v.at); why != "" {
			l.put("", printable(why))
		} else {
			l.put(colour, bar(n.rate, scale(v), l.left-1))
		}
		lines = append(lines, l.String())
	}
	if rest := len(v.nodes) - show; rest > 0 {
		lines = append(lines, p.line().put(dim, fmt.Sprintf(" and %d more", rest)).String())
	}
	return lines[:min(len(lines), most)]
}

// shown is the node's state as a word, and its colour.
func (n *nodeView) shown() (word, colour string) {
	switch {
	case n.killed && n.state == pool.Active:
		return "killed", red
	case n.state == pool.Active:
		return "active", green
	case n.state == "":
		return "unknown", dim
	case n.state == pool.Frozen, n.state == pool.Unhealthy:
		return string(n.state), yellow
	case n.state == pool.Inactive:
		return "inactive", dim
	}
	return string(n.state), red
}

// says is what there is to say of a node in the place of its bar.
func (n *nodeView) says(now time.Time) string {
	switch {
	case n.killed && n.state == pool.Active:
		return fmt.Sprintf("its heartbeat expires in %.1f s", max(n.expires.Sub(now).Seconds(), 0))
	case n.held:
		return "lbd's guard goes on serving it"
	case n.state == pool.Active && n.rate < 0.5:
		return ""
	}
	return n.why
}

// scale is the rate of a full bar: twice the fair share, so that it shows when some carry the others' load.
func scale(v *view) float64 {
	full := 2 * v.rate / float64(max(len(v.nodes), 1))
	for i := range v.nodes {
		full = max(full, v.nodes[i].rate)
	}
	return full
}

// bar is a bar of at most width cells, in steps of an eighth of a cell.
func bar(rate, full float64, width int) string {
	const eighths = " ▏▎▍▌▋▊▉"
	if full <= 0 || width <= 0 {
		return ""
	}
	n := int(rate/full*float64(8*width) + 0.5)
	b := strings.Repeat("█", n/8)
	if n%8 > 0 {
		b += string([]rune(eighths)[n%8])
	}
	return b
}

func (p *picture) totals(v *view, last *applied) []string {
	failed := ""
	if v.load.Failed > 0 {
		failed = red
	}
	clients := p.line().put(dim, " clients").pad(13).put(bold, fmt.Sprintf("%.0f", v.rate)).put("", fmt.Sprintf(" requests/s, %d sent, ", v.load.Sent)).
		put(failed, fmt.Sprintf("%d failed", v.load.Failed)).put("", fmt.Sprintf(", %d repeated", v.load.Repeated))
	latency := p.line().put(dim, " latency").pad(13).
		put("", fmt.Sprintf("%s half of the last second's requests, %s the slowest", milliseconds(v.median), milliseconds(v.slowest)))
	apply := p.line().put(dim, " last apply").pad(13)
	switch {
	case last.at.IsZero():
		apply.put("", "none yet")
	case last.change == "":
		apply.put(red, last.text)
	default:
		apply.put(bold, last.change).put("", fmt.Sprintf(" %s, %s ago", last.text, ago(v.at.Sub(last.at))))
	}
	return []string{"", clients.String(), latency.String(), apply.String()}
}

func ago(d time.Duration) string { return max(d, 0).Truncate(time.Second).String() }

// foot are the commands to try, the keys, and where the log is.
func (p *picture) foot() []string {
	lines := []string{"", p.line().put(dim, " In a second terminal:").String()}
	for _, c := range p.try {
		lines = append(lines, p.line().put("", "   ").put(cyan, c).String())
	}
	if p.keys != "" {
		lines = append(lines, p.line().put(dim, " Here:  ").put("", p.keys).String())
	}
	return append(lines, p.line().put(dim, " Log:   "+p.log).String())
}

// line is one line of the picture, cut where the terminal ends.
type line struct {
	b      strings.Builder
	at     int // cells used
	left   int
	colour bool
}

func (p *picture) line() *line { return &line{left: p.width, colour: p.colour} }

// put adds text in a colour; "" is the terminal's own.
func (l *line) put(colour, text string) *line {
	if n := utf8.RuneCountInString(text); n > l.left {
		text = string([]rune(text)[:l.left])
	}
	n := utf8.RuneCountInString(text)
	l.at += n
	l.left -= n
	if colour != "" && l.colour && n > 0 {
		text = "\x1b[" + colour + "m" + text + "\x1b[0m"
	}
	l.b.WriteString(text)
	return l
}

// pad goes on at a cell.
func (l *line) pad(to int) *line { return l.put("", strings.Repeat(" ", max(to-l.at, 0))) }

func (l *line) String() string { return l.b.String() }
