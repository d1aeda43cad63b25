package load

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options say what is sent, how often and over how many connections.
type Options struct {
	URL string // required: http://host:port/path

	Rate      float64       // required: requests a second
	Duration  time.Duration // length of the schedule; 0: until ctx is done
	Conns     int           // keep-alive connections; default 32
	PostShare float64       // 0 (only GET) to 1 (only POST); which request is one is spread evenly and always the same
	Body      []byte        // of a POST
	Timeout   time.Duration // for one request from when it is sent, its repetition included; default 5 s

	// MaxWaiting is how many requests that are due may wait for a connection.
	// Beyond it those that have waited longest are dropped. Default: the
	// arrivals of 5 s.
	MaxWaiting int

	NodeHeader string // response header in which a node says who it is; default X-Node

	// OnDone is called after each request, from the goroutine of its
	// connection, which can send nothing more until it returns.
	OnDone func(Sample)
}

func (o *Options) setDefaults() {
	if o.Conns == 0 {
		o.Conns = 32
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.MaxWaiting == 0 {
		o.MaxWaiting = max(int(5*o.Rate), 1)
	}
	if o.NodeHeader == "" {
		o.NodeHeader = "X-Node"
	}
}

// check returns the parsed URL, or all that is wrong with the options.
func (o *Options) check() (*url.URL, error) {
	u, err := url.Parse(o.URL)
	if err == nil && (u.Scheme != "http" || u.Host == "") {
		err = fmt.Errorf("url %q is not http://host:port/path", o.URL)
	}
	errs := []error{err}
	if !(o.Rate > 0) {
		errs = append(errs, fmt.Errorf("rate %v is not above 0", o.Rate))
	}
	if !(o.PostShare >= 0 && o.PostShare <= 1) {
		errs = append(errs, fmt.Errorf("share of POST %v is not between 0 and 1", o.PostShare))
	}
	if o.Conns < 0 || o.Duration < 0 || o.Timeout < 0 || o.MaxWaiting < 0 {
		errs = append(errs, errors.New("a negative number of connections or waiting requests, or a negative time"))
	}
	return u, errors.Join(errs...)
}

// address is where u is dialled.
func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// requestText is the whole request as it goes over the wire.
func requestText(method string, u *url.URL, body []byte) []byte {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bazbeans-load\r\n", method, u.RequestURI(), u.Host)
	if method == http.MethodPost {
		fmt.Fprintf(&text, "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", len(body))
	}
	text.WriteString("\r\n")
	text.Write(body)
	return []byte(text.String())
}
