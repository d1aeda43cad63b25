package resolvers

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
)

// service is an HTTP service that is asked for addresses.
type service struct {
	url, host string
	tokenFile string
	client    *http.Client
}

const placeholder = "{node_id}"

func newService(o CallbackOptions) (*service, error) {
	u, err := checkURL(o.URL, o.Batch)
	if err != nil {
		return nil, err
	}
	s := &service{url: o.URL, host: u.Host, tokenFile: o.TokenFile}
	if s.tokenFile != "" {
		if u.Scheme != "https" && !isLoopback(u.Hostname()) {
			return nil, errors.New("token_file: over http everybody on the way can read it; use an https url")
		}
		if _, err := s.token(); err != nil {
			return nil, err
		}
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: there is no certificate in %s", o.CA)
		}
	}
	s.client = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{ // no Proxy: the environment is no place for settings
			TLSClientConfig:        trust,
			MaxIdleConnsPerHost:    cmp.Or(o.Parallel, 8),
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // a limit on what is read is one on what it unpacks to
		},
	}
	return s, nil
}

// checkURL takes an http(s) URL that says the same for each node but for the node's id in its path or query.
func checkURL(text string, batch bool) (*url.URL, error) {
	u, err := url.Parse(strings.ReplaceAll(text, placeholder, "one"))
	other, err2 := url.Parse(strings.ReplaceAll(text, placeholder, "other"))
	if err != nil || err2 != nil {
		return nil, errors.New("url: it is not a URL") // the error would show it, with what may be secret in it
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, errors.New("url: it does not begin with http://HOST or https://HOST")
	case u.User != nil:
		return nil, errors.New("url: a password has no place there; use token_file")
	case u.Fragment != "":
		return nil, errors.New("url: a #fragment is not sent")
	case batch == strings.Contains(text, placeholder):
		return nil, fmt.Errorf("url: it needs %s to ask about one node, and must not have it with batch", placeholder)
	case u.Scheme != other.Scheme, u.Host != other.Host:
		return nil, fmt.Errorf("url: %s has its place in the path or the query", placeholder)
	}
	return u, nil
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

func (s *service) token() (string, error) {
	text, err := os.ReadFile(s.tokenFile)
	if err != nil {
		return "", fmt.Errorf("token_file: %w", err)
	}
	token := string(bytes.TrimSpace(text))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("token_file: %s does not hold one word of printable characters", s.tokenFile)
	}
	return token, nil
}

// one asks about one node.
func (s *service) one(ctx context.Context, id string) (Endpoint, error) {
	status, body, err := s.do(ctx, http.MethodGet, strings.ReplaceAll(s.url, placeholder, url.PathEscape(id)), nil, mostSaid)
	switch {
	case err != nil:
		return Endpoint{}, err
	case status == http.StatusOK:
		return oneAnswer(body)
	case status == http.StatusNoContent, status == http.StatusNotFound, status == http.StatusGone:
		return Endpoint{}, ErrNotMine
	}
	return Endpoint{}, s.unexpected(status)
}

// all asks about all nodes.
func (s *service) all(ctx context.Context, ids []string) (Answers, error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	status, body, err := s.do(ctx, http.MethodPost, s.url, list, mostSaid+mostSaidEach*len(ids))
	if err != nil {
		return nil, err
	}
	said := newSaidBy(ids)
	switch status {
	case http.StatusNoContent:
		return nil, nil
	case http.StatusOK:
		if err := said.object(body); err != nil {
			return nil, fmt.Errorf("%s: %w", s.host, err)
		}
		return said.answers, nil
	}
	return nil, s.unexpected(status)
}

func (s *service) unexpected(status int) error {
	return fmt.Errorf("%s answers %d %s", s.host, status, http.StatusText(status))
}

// do makes one request and reads at most so many bytes. Its errors don't hold the URL, which may hold a key.
func (s *service) do(ctx context.Context, method, to string, body []byte, most int) (int, []byte, error) {
	status, answer, err := s.exchange(ctx, method, to, body, most)
	var wrapped *url.Error
	switch {
	case err == nil:
		return status, answer, nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.As(err, &wrapped):
		err = wrapped.Err
	}
	return 0, nil, fmt.Errorf("%s: %w", s.host, err)
}

func (s *service) exchange(ctx context.Context, method, to string, body []byte, most int) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("User-Agent", "bazbeans-lbd")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.tokenFile != "" {
		token, err := s.token()
		if err != nil {
			return 0, nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, int64(most)+1))
	switch {
	case err != nil:
	case len(answer) > most:
		err = errTooMuch
	case resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html"):
		err = errors.New("it answers with a web page") // of a proxy, or to sign in at
	}
	return resp.StatusCode, answer, err
}
