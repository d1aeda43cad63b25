package lbd

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// Nginx is said not to run when it does not, and not when lbd fails to see it or to ask it.
func TestWhatIsNotKnownOfNginx(t *testing.T) {
	up := nginx.State{Master: 1}
	cfg := DefaultConfig()
	for name, c := range map[string]struct {
		state nginx.State
		err   error
		want  string // "": nothing
	}{
		"it runs":            {up, nil, ""},
		"it is down":         {nginx.State{Why: "there is no pid file"}, nil, "nginx is not running, as far as lbd can see: there is no pid file (lbd doctor says what to do)"},
		"it does not answer": {up, errors.New("no such socket"), "nginx runs, and can't be asked what it does (changes go in by reloads if that lasts): no such socket"},
		"it can't be seen":   {nginx.State{}, errors.New("read pid file: permission denied"), "lbd can't tell whether nginx runs: read pid file: permission denied"},
	} {
		var b board
		b.nginx(State{State: c.state}, c.err)
		s, _ := b.read(&cfg)
		said := slices.DeleteFunc(s.Problems, func(p string) bool { return !strings.Contains(p, "nginx") })
		if c.want == "" && len(said) > 0 || c.want != "" && !slices.Equal(said, []string{c.want}) {
			t.Errorf("%s: %q", name, said)
		}
	}
}
