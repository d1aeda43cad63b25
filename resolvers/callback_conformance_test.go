package resolvers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/resolvers"
	"github.com/bazbeans/bazbeans/resolvers/resolvertest"
)

// site is what the callbacks of these tests know.
func site(id string) (resolvers.Endpoint, error) {
	switch id {
	case "web1":
		return resolvers.ParseEndpoint("10.0.1.10:8000")
	case "web2":
		return resolvers.ParseEndpoint("fd00::2")
	case "local":
		return resolvers.ParseEndpoint("127.0.0.1")
	case "bad":
		return resolvers.ParseEndpoint("unix:/run/docker.sock")
	case "down":
		return resolvers.Endpoint{}, errors.New("inventory: time-out")
	}
	return resolvers.Endpoint{}, resolvers.ErrNotMine
}

// conforms runs the suite over a callback that knows what site knows.
func conforms(t *testing.T, c resolvertest.Case) {
	t.Helper()
	c.Known = map[string]resolvers.Endpoint{
		"web1": {Addr: netip.MustParseAddr("10.0.1.10"), Port: 8000}, "web2": {Addr: netip.MustParseAddr("fd00::2")},
	}
	c.NotMine, c.Refused, c.Shared, c.Within = []string{"stranger"}, []string{"local", "bad"}, true, time.Minute
	resolvertest.Run(t, c)
}

func opened(r resolvers.Resolver, err error) func(testing.TB) resolvers.Resolver {
	return func(t testing.TB) resolvers.Resolver {
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func called(o resolvers.CallbackOptions) func(testing.TB) resolvers.Resolver {
	return func(t testing.TB) resolvers.Resolver { c, err := resolvers.NewCallback(o); return opened(c, err)(t) }
}

func TestEachConforms(t *testing.T) {
	open := func(fn func(context.Context, string) (resolvers.Endpoint, error)) func(testing.TB) resolvers.Resolver {
		return func(t testing.TB) resolvers.Resolver {
			c, err := resolvers.Each(fn, resolvers.CacheOptions{})
			return opened(c, err)(t)
		}
	}
	conforms(t, resolvertest.Case{
		New: open(func(_ context.Context, id string) (resolvers.Endpoint, error) { return site(id) }),
		Hang: open(func(ctx context.Context, _ string) (resolvers.Endpoint, error) {
			<-ctx.Done()
			return resolvers.Endpoint{}, ctx.Err()
		}),
		CannotKnow: []string{"down"},
	})
}

func TestBatchConforms(t *testing.T) {
	open := func(fn func(context.Context, []string) (resolvers.Answers, error)) func(testing.TB) resolvers.Resolver {
		return func(t testing.TB) resolvers.Resolver {
			c, err := resolvers.Batch(fn, resolvers.CacheOptions{})
			return opened(c, err)(t)
		}
	}
	conforms(t, resolvertest.Case{
		New: open(func(_ context.Context, ids []string) (resolvers.Answers, error) {
			answers := resolvers.Answers{}
			for _, id := range ids {
				if e, err := site(id); !errors.Is(err, resolvers.ErrNotMine) {
					answers[id] = resolvers.Answer{Endpoint: e, Err: err}
				}
			}
			return answers, nil
		}),
		Hang: open(func(ctx context.Context, _ []string) (resolvers.Answers, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}),
		CannotKnow: []string{"down"},
	})
}

func TestProgramConforms(t *testing.T) {
	dir := t.TempDir()
	one := program(t, `case $1 in
web1) cat `+dir+`/web1;; web2) echo fd00::2;; local) echo 127.0.0.1;; bad) echo unix:/run/docker.sock;; down) exit 2;;
esac`)
	write(t, dir+"/web1", "10.0.1.10:8000")
	conforms(t, resolvertest.Case{
		New:        called(resolvers.CallbackOptions{Exec: []string{one}, TTL: 5 * time.Second, Timeout: time.Minute}),
		Hang:       called(resolvers.CallbackOptions{Exec: []string{program(t, "sleep 1000 & wait")}}),
		CannotKnow: []string{"down"}, Most: 200,
		Change: func(t testing.TB) map[string]resolvers.Endpoint {
			write(t, dir+"/web1", "10.0.1.99")
			return map[string]resolvers.Endpoint{"web1": at("10.0.1.99")}
		},
	})
}

func TestProgramBatchConforms(t *testing.T) {
	all := program(t, `while read -r id; do case $id in
web1) echo "$id 10.0.1.10:8000";; web2) echo "$id fd00::2";; local) echo "$id 127.0.0.1";; bad) echo "$id unix:/run/docker.sock";;
esac; done`)
	conforms(t, resolvertest.Case{
		New:  called(resolvers.CallbackOptions{Exec: []string{all}, Batch: true, Timeout: time.Minute}),
		Hang: called(resolvers.CallbackOptions{Exec: []string{program(t, "sleep 1000 & wait")}, Batch: true}),
	})
}

func TestServiceConforms(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /nodes/{id}", func(w http.ResponseWriter, r *http.Request) {
		switch id := r.PathValue("id"); id {
		case "bad":
			fmt.Fprint(w, "unix:/run/docker.sock")
		default:
			e, err := site(id)
			switch {
			case errors.Is(err, resolvers.ErrNotMine):
				w.WriteHeader(http.StatusNotFound)
			case err != nil:
				w.WriteHeader(http.StatusServiceUnavailable)
			default:
				fmt.Fprint(w, text(e))
			}
		}
	})
	mux.HandleFunc("POST /nodes", func(w http.ResponseWriter, r *http.Request) {
		var ids []string
		if json.NewDecoder(r.Body).Decode(&ids) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		said := map[string]any{"bad": "unix:/run/docker.sock"}
		for _, id := range ids {
			if e, err := site(id); err == nil {
				said[id] = text(e)
			}
		}
		_ = json.NewEncoder(w).Encode(said)
	})
	mux.HandleFunc("/hang/", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := httptest.NewServer(mux)
	defer s.Close()
	t.Run("one", func(t *testing.T) {
		conforms(t, resolvertest.Case{
			New:        called(resolvers.CallbackOptions{URL: s.URL + "/nodes/{node_id}", Timeout: time.Minute}),
			Hang:       called(resolvers.CallbackOptions{URL: s.URL + "/hang/{node_id}"}),
			CannotKnow: []string{"down"}, Most: 1000,
		})
	})
	t.Run("batch", func(t *testing.T) {
		conforms(t, resolvertest.Case{
			New: called(resolvers.CallbackOptions{URL: s.URL + "/nodes", Batch: true, Timeout: time.Minute}),
		})
	})
}

// text is an endpoint as a callback writes it.
func text(e resolvers.Endpoint) string {
	if e.Port == 0 {
		return e.Addr.String()
	}
	return netip.AddrPortFrom(e.Addr, e.Port).String()
}

// program writes a shell script and returns its path.
func program(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lookup")
	write(t, path, "#!/bin/sh\n"+text+"\n")
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// write puts a file in its place as a whole.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
