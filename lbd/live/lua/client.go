package lua

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// Client speaks with the control server of one Nginx. It is for one caller at
// a time or many; each question takes a connection of its own, so that none is
// kept to a worker that shuts down.
type Client struct {
	http http.Client
}

// NewClient makes a client for the socket, which may be at any of the paths;
// it connects when asked something, to the first that answers.
func NewClient(paths ...string) *Client {
	var d net.Dialer
	return &Client{http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (c net.Conn, err error) {
			var all []error
			for _, path := range paths {
				if c, err = d.DialContext(ctx, "unix", path); err == nil {
					return c, nil
				}
				all = append(all, err)
			}
			return nil, errors.Join(all...)
		},
	}}}
}

// Refused is an answer of the control server other than what was asked for:
// 400 a bad message, 409 one that comes or ends too late, 413 one too large,
// 503 another change under way, 507 no room, 500 a fault. None of them
// has changed anything.
type Refused struct {
	Status int
	Reason string
}

func (r *Refused) Error() string {
	return fmt.Sprintf("Nginx refuses it (status %d): %s", r.Status, r.Reason)
}

// State is what the workers hold and have under way.
type State struct {
	Generation int64    `json:"generation"` // of the present message, 0 without one
	Sum        string   `json:"sum"`
	Free       int64    `json:"free"` // bytes left in the shared dictionary, in whole pages
	Workers    []Worker `json:"workers"`
}

// Worker is one Nginx worker that has served a request of a live upstream or
// of the control server; another has nothing under way.
type Worker struct {
	PID        int                    `json:"pid"`
	Generation int64                  `json:"generation"` // that it last balanced by; it takes the present one before its next request
	Error      string                 `json:"error"`      // its last fault: it may have used Nginx's own server lines, uncounted
	Exiting    bool                   `json:"exiting"`
	Busy       map[string]map[int]int `json:"busy"` // upstream → slot → requests under way; slot -1: on peers the message lacks
}

// Put takes a message in ([live.Message]): when it returns, every request that
// begins goes by it, in every worker. A message that Nginx does not take is a
// [*Refused].
func (c *Client) Put(ctx context.Context, message []byte) error {
	path := "/peers"
	if until, ok := ctx.Deadline(); ok {
		path += "?before=" + strconv.FormatInt(until.UnixMilli(), 10)
	}
	return c.ask(ctx, http.MethodPut, path, message, &State{})
}

// Get returns the present message; false when there is none.
func (c *Client) Get(ctx context.Context) (message []byte, found bool, err error) {
	err = c.ask(ctx, http.MethodGet, "/peers", nil, &message)
	if refused := (*Refused)(nil); errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return nil, false, nil
	}
	return message, err == nil, err
}

// State asks who is busy with what. Every request that began by a message
// before the present one is in it.
func (c *Client) State(ctx context.Context) (State, error) {
	var s State
	err := c.ask(ctx, http.MethodGet, "/state", nil, &s)
	return s, err
}

// Forget drops the counts of workers whose processes are no more.
func (c *Client) Forget(ctx context.Context, pids []int) error {
	words := make([]string, len(pids))
	for i, pid := range pids {
		words[i] = strconv.Itoa(pid)
	}
	return c.ask(ctx, http.MethodPost, "/forget?pid="+strings.Join(words, ","), nil, &State{})
}

func (c *Client) ask(ctx context.Context, method, path string, body []byte, into any) error {
	fail := func(err error) error {
		return fmt.Errorf("%s %s at Nginx's control socket: %w", method, path, err)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://nginx"+path, bytes.NewReader(body))
	if err != nil {
		return fail(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return fail(err)
	}
	if resp.StatusCode != http.StatusOK {
		reason, _, _ := strings.Cut(string(text), "\n")
		return fail(&Refused{resp.StatusCode, reason})
	}
	if raw, ok := into.(*[]byte); ok {
		*raw = text
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fail(err)
	}
	return nil
}
