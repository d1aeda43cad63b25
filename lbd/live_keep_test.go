package lbd

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// keptBy notes what is kept.
type keptBy struct{ did []string }

func (k *keptBy) Keep(context.Context, []nginx.File, int64) error {
	k.did = append(k.did, "keep")
	return nil
}

// What Nginx's test needs is there before it: without the folder of the control socket a file is refused that is right.
func TestFilesAreKeptOnceTheKindIsReady(t *testing.T) {
	to := &keptBy{}
	var missing error
	k := newKeeper(nil, func() error { to.did = append(to.did, "ready"); return missing }, 0, silent)
	k.nginx = to
	k.write(nil, 1)
	if err := k.close(); err != nil || !slices.Equal(to.did, []string{"ready", "keep"}) {
		t.Errorf("%q, %v", to.did, err)
	}
	missing = errors.New("mkdir /var/lib/lbd/live: permission denied")
	k.write(nil, 2)
	if err := k.close(); !errors.Is(err, missing) || !slices.Equal(to.did, []string{"ready", "keep", "ready"}) {
		t.Errorf("%q, %v", to.did, err)
	}
}

// closesBadly is an engine whose last files can't be written.
type closesBadly struct{ fakeEngine }

func (*closesBadly) Close() error { return errors.New("the configuration on disk is broken") }

// Files that the engine given up could not write are no error of their own: the keeper has said it, and the reload writes them
// anew.
func TestEngineGivenUpSaysItOnce(t *testing.T) {
	var log strings.Builder
	l := &LB{cfg: DefaultConfig(), log: slog.New(slog.NewTextHandler(&log, nil)), agenda: newAgenda(), engine: &closesBadly{}}
	l.chosen.retry = liveRetry
	l.take(nil, "nginx can't be told of peers", true)
	if text := log.String(); strings.Contains(text, "ERROR") || !strings.Contains(text, "can't be told of peers") {
		t.Error(text)
	}
}
