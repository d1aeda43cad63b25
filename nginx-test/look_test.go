package nginxtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// client opens a connection for each request: what answers is what takes new connections now.
var client = &http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true}}

// get returns status code, body, and the node that answered.
func get(ctx context.Context, url string) (code int, body, node string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), resp.Header.Get("X-Node"), err
}

// status is what /status promises.
type status struct {
	Engine                   struct{ Pending string }
	ID                       string
	Rev                      int64
	Wanted, Written, Running int64
	Nodes                    []nodeStatus
	Quarantined              []struct{ ID, Why string }
	Guard                    json.RawMessage
	LastApply                struct {
		At         time.Time
		Step       string
		DurationMS float64 `json:"duration_ms"`
		Error      string
	} `json:"last_apply"`
	Redis struct {
		Connected bool
		LastLook  time.Time `json:"last_look"`
	}
}

type nodeStatus struct {
	ID, Address string
	Port        int
	Weight      int
	DataCenter  string `json:"data_center"`
	Labels      map[string]string
	Resolver    string
	State       string
}

func (b *balancer) status() (s status, err error) {
	code, body, _, err := get(b.s.t.Context(), b.url+"/status")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("/status answers %d: %s", code, body)
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &s)
	}
	return s, err
}

// must is status for a moment in which lbd surely answers.
func (b *balancer) mustStatus() status {
	b.s.t.Helper()
	s, err := b.status()
	if err != nil {
		b.s.t.Fatal(err)
	}
	return s
}

// settled returns the status once Nginx is proven to serve what lbd wants and has written to its files; before, an
// error.
func (b *balancer) settled(files ...string) (status, error) {
	var newest time.Time
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return status{}, err
		}
		if at := info.ModTime(); at.After(newest) {
			newest = at
		}
	}
	s, err := b.status()
	switch {
	case err != nil:
	case s.LastApply.At.Before(newest) && s.Redis.LastLook.Before(newest):
		err = fmt.Errorf("/status does not know yet of what was written at %s", newest)
	case s.Running != s.Wanted || s.Written != s.Wanted || s.Wanted == 0:
		err = fmt.Errorf("generation %d is wanted, %d written, %d running", s.Wanted, s.Written, s.Running)
	case s.Engine.Pending != "":
		err = errors.New(s.Engine.Pending) // with resolve Nginx looks once a second
	}
	return s, err
}

func (s status) state(id string) string {
	for _, n := range s.Nodes {
		if n.ID == id {
			return n.State
		}
	}
	return ""
}

// serverLine is a server in a file of lbd's: address, parameters.
var serverLine = regexp.MustCompile(`(?m)^\s*server\s+([^\s;{]+)([^;]*);`)

// servers returns the ids of the nodes in a file that lbd wrote, sorted; those marked down are left out.
func (s *site) servers(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return []string{err.Error()}
	}
	var ids []string
	for _, m := range serverLine.FindAllStringSubmatch(string(text), -1) {
		if words := strings.Fields(m[2]); !slices.Contains(words, "down") && !slices.Contains(words, "resolve") {
			ids = append(ids, s.idAt(m[1]))
		}
	}
	for _, m := range peerLine.FindAllStringSubmatch(string(text), -1) {
		ids = append(ids, m[1])
	}
	slices.Sort(ids)
	return ids
}

// peerLine is a peer in the comments that stand for server lines with resolve: id, and none that is down.
var peerLine = regexp.MustCompile(`(?m)^\s*# peer \d+ (\S+) .* -$`)

// wantServers waits until Nginx is proven to send to these nodes and to no other: they are in the file, /status, which
// knows of that file, calls them active and its generation the running one, and nobody else answers from then on.
func (b *balancer) wantServers(ids ...string) {
	b.s.t.Helper()
	slices.Sort(ids)
	serverstest.Eventually(b.s.t, soon, func() error {
		got := b.s.servers(b.output) // before the status: what is written after that is not proven yet
		s, err := b.settled(b.output)
		if err != nil {
			return err
		}
		if !slices.Equal(got, ids) {
			return fmt.Errorf("the servers are %v, want %v", got, ids)
		}
		var active []string
		for _, n := range s.Nodes {
			if n.State == "active" {
				active = append(active, n.ID)
			}
		}
		if slices.Sort(active); !slices.Equal(active, ids) {
			return fmt.Errorf("/status calls %v active, want %v", active, ids)
		}
		return nil
	})
	b.wantAnswersFrom(ids...)
}

// wantAck waits until the balancer is in Redis: from then on bbctl waits for it.
func (b *balancer) wantAck() {
	b.s.t.Helper()
	serverstest.Eventually(b.s.t, soon, func() error {
		known, err := b.s.rdb.SIsMember(b.s.t.Context(), "bazbeans:lbs", b.id).Result()
		if err == nil && !known {
			err = fmt.Errorf("%s is not in bazbeans:lbs", b.id)
		}
		return err
	})
}

// wantAnswersFrom asks the site a few times now: only these nodes may answer.
func (b *balancer) wantAnswersFrom(ids ...string) {
	b.s.t.Helper()
	for range 3 * len(ids) {
		code, _, node, err := get(b.s.t.Context(), "http://"+b.nginx.Listen[0])
		if err != nil || code != http.StatusOK || !slices.Contains(ids, node) {
			b.s.t.Errorf("node %q answered with status %d (%v), want 200 from one of %v", node, code, err, ids)
		}
	}
}

// want waits until a path of lbd's HTTP answers with the status code and all of the texts.
func (b *balancer) want(path string, code int, texts ...string) {
	b.s.t.Helper()
	serverstest.Eventually(b.s.t, soon, func() error {
		got, body, _, err := get(b.s.t.Context(), b.url+path)
		if err == nil && (got != code || !containsAll(body, texts...)) {
			err = fmt.Errorf("%s answers %d: %s; want %d with %q", path, got, body, code, texts)
		}
		return err
	})
}

// wantLooks waits until lbd has looked at Redis n times more.
func (b *balancer) wantLooks(n int) {
	b.s.t.Helper()
	last := b.mustStatus().Redis.LastLook
	for range n {
		serverstest.Eventually(b.s.t, soon, func() error {
			s, err := b.status()
			if err == nil && !s.Redis.LastLook.After(last) {
				err = fmt.Errorf("no look since %s", last)
			}
			if err == nil {
				last = s.Redis.LastLook
			}
			return err
		})
	}
}
