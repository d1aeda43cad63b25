package lua

import (
	"bytes"
	"context"
	"encoding/json"
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

// NewClient makes a client for the socket; it connects when asked something.
func NewClient(socket string) *Client {
	var d net.Dialer
	return &Client{http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Refused is an answer of the control server other than what was asked for:
// 400 a bad message, 404 no message yet, 409 an older generation than the
// present one, 413 a message too large, 503 another change under way, 507 no
// room, 500 a fault. None of them has changed anything.
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
	PID        int                       `json:"pid"`
	Generation int64                     `json:"generation"` // that it last balanced by; it takes the present one before its next request
	Error      string                    `json:"error"`      // its last fault: it may have used Nginx's own server lines, uncounted
	Exiting    bool                      `json:"exiting"`
	Busy       map[string]map[string]int `json:"busy"` // upstream → slot → requests under way
}

// Put takes a message in: when it returns, every request that begins goes by
// it, in every worker. force also takes one with a generation below the
// present one. A message that Nginx does not take is a [*Refused].
func (c *Client) Put(ctx context.Context, message []byte, force bool) (State, error) {
	var s State
	header := http.Header{}
	if force {
		header.Set("X-Force", "1")
	}
	err := c.ask(ctx, http.MethodPut, "/peers", header, message, &s)
	return s, err
}

// Get returns the present message, a [*Refused] with status 404 without one.
func (c *Client) Get(ctx context.Context) ([]byte, error) {
	var text []byte
	err := c.ask(ctx, http.MethodGet, "/peers", nil, nil, &text)
	return text, err
}

// State asks who is busy with what. Every request that began by a message
// before the present one is in it.
func (c *Client) State(ctx context.Context) (State, error) {
	var s State
	err := c.ask(ctx, http.MethodGet, "/state", nil, nil, &s)
	return s, err
}

// Forget drops the counts of workers whose processes are no more.
func (c *Client) Forget(ctx context.Context, pids ...int) (State, error) {
	words := make([]string, len(pids))
	for i, pid := range pids {
		words[i] = strconv.Itoa(pid)
	}
	var s State
	err := c.ask(ctx, http.MethodPost, "/forget?pid="+strings.Join(words, ","), nil, nil, &s)
	return s, err
}

func (c *Client) ask(ctx context.Context, method, path string, header http.Header, body []byte, into any) error {
	fail := func(err error) error {
		return fmt.Errorf("%s %s at Nginx's control socket: %w", method, path, err)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://nginx"+path, bytes.NewReader(body))
	if err != nil {
		return fail(err)
	}
	if header != nil {
		req.Header = header
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 2*MaxMessage))
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
