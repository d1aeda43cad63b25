package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bazbeans/bazbeans/conf"
)

// HTTPCheck asks a URL, over a connection of its own each time and never through a proxy.
type HTTPCheck struct {
	URL      string            `yaml:"url"`      // http:// or https://
	Method   string            `yaml:"method"`   // default GET
	Headers  map[string]string `yaml:"headers"`  // Host too
	Status   []StatusRange     `yaml:"status"`   // good ones; default 200-399, as Kubernetes has it
	Body     string            `yaml:"body"`     // regular expression (RE2) that the first 64 KiB must match
	Redirect bool              `yaml:"redirect"` // follow redirects, ten at most; else one is the answer
	TLS      TLSCheck          `yaml:"tls"`
}

// TLSCheck says how a check trusts a server.
type TLSCheck struct {
	CA         string `yaml:"ca"`          // PEM file; default: the system's
	ServerName string `yaml:"server_name"` // default: the host
	Insecure   bool   `yaml:"insecure"`    // take any certificate
}

// bodyMost is how much of a body is read, in bytes.
const bodyMost = 64 << 10

func (c *HTTPCheck) prepare(host) (probe, error) {
	var errs []error
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		errs = append(errs, errors.New("url: want http://host:port/path or https://…"))
	}
	body, err := regexp.Compile(c.Body)
	if err != nil {
		errs = append(errs, fmt.Errorf("body: %w", err))
	}
	trust, err := c.TLS.config()
	errs = append(errs, placed("tls", err)...)
	if c.TLS != (TLSCheck{}) && u != nil && u.Scheme == "http" && !c.Redirect {
		errs = append(errs, errors.New("tls: the url is http://"))
	}
	method := strings.ToUpper(c.Method)
	// A request made now tells what is wrong with the method.
	if _, err := http.NewRequest(method, "http://host/", nil); err != nil {
		errs = append(errs, fmt.Errorf("method: %q is not an HTTP method", c.Method))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	good := c.Status
	if len(good) == 0 {
		good = []StatusRange{{200, 399}}
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: trust, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: bodyMost}}
	if !c.Redirect {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, method, c.URL, nil)
		if err != nil {
			return err
		}
		for k, v := range c.Headers {
			req.Header.Set(k, v)
		}
		if h := req.Header.Get("Host"); h != "" {
			req.Host = h // where Go wants it
		}
		resp, err := client.Do(req)
		if err != nil {
			// Its own text repeats the URL, which may hold a secret.
			var in *url.Error
			if errors.As(err, &in) {
				err = in.Err
			}
			return err
		}
		defer resp.Body.Close()
		if !isGood(good, resp.StatusCode) {
			return fmt.Errorf("answers %s", strings.TrimSpace(resp.Status))
		}
		if c.Body == "" {
			return nil
		}
		text, err := io.ReadAll(io.LimitReader(resp.Body, bodyMost))
		if err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		if !body.Match(text) {
			return fmt.Errorf("answers %d, and its body does not match %q", resp.StatusCode, c.Body)
		}
		return nil
	}, nil
}

// config never returns nil without an error.
func (t TLSCheck) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.Insecure}
	if t.CA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca: %s holds no certificate in PEM form", t.CA)
	}
	return c, nil
}

// StatusRange is a range of HTTP status codes, both ends in it. In the config: 200, 200-299 or 2xx.
type StatusRange struct{ From, To int }

// UnmarshalYAML reads one of its forms.
func (r *StatusRange) UnmarshalYAML(n *yaml.Node) error {
	text := n.Value
	if class, ok := strings.CutSuffix(strings.ToLower(text), "xx"); ok {
		text = class + "00-" + class + "99"
	}
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	var err1, err2 error
	r.From, err1 = strconv.Atoi(from)
	r.To, err2 = strconv.Atoi(to)
	if err1 != nil || err2 != nil || r.From < 100 || r.To > 599 || r.From > r.To {
		return conf.Errorf(n, "want a status like 200, 200-299 or 2xx")
	}
	return nil
}

func isGood(good []StatusRange, status int) bool {
	for _, r := range good {
		if r.From <= status && status <= r.To {
			return true
		}
	}
	return false
}

// TCPCheck connects, and greets with TLS if told to.
type TCPCheck struct {
	Address string    `yaml:"address"` // host:port
	TLS     *TLSCheck `yaml:"tls"`     // {} for TLS with the system's CAs
}

func (c *TCPCheck) prepare(host) (probe, error) {
	name, port, err := net.SplitHostPort(c.Address)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || name == "" || bad != nil || n == 0 {
		return nil, fmt.Errorf("address: %q is not host:port", c.Address)
	}
	var d interface {
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	} = &net.Dialer{}
	if c.TLS != nil {
		trust, err := c.TLS.config()
		if err != nil {
			return nil, errors.Join(placed("tls", err)...)
		}
		d = &tls.Dialer{Config: trust}
	}
	return func(ctx context.Context) error {
		conn, err := d.DialContext(ctx, "tcp", c.Address)
		if err != nil {
			return err
		}
		return conn.Close()
	}, nil
}
