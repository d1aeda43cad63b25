package resolvers

import (
	"errors"
	"fmt"
	"time"
)

// CallbackOptions say what is called: a program or a URL, one of the two.
type CallbackOptions struct {
	Exec []string `yaml:"exec"` // a program by its absolute path, and its arguments; the node's id is added as the last
	User string   `yaml:"user"` // that the program runs as, with that user's groups; default: lbd's own

	URL       string `yaml:"url"`        // asked by GET, with {node_id} in its path or query; with batch by POST
	CA        string `yaml:"ca"`         // file with the certificates that are believed; default: the system's
	TokenFile string `yaml:"token_file"` // sent as bearer token, read for each request; over https or to loopback only

	Batch    bool          `yaml:"batch"`    // ask about all nodes at once
	TTL      time.Duration `yaml:"ttl"`      // how long an answer is good; default 60s, at least 1s
	Timeout  time.Duration `yaml:"timeout"`  // of one run or request; default 5s
	Parallel int           `yaml:"parallel"` // runs or requests at once; default 8, with batch 2
}

// Callback resolves nodes by asking a program or an HTTP service of the site's own. An address is "IP", "IP:port" or
// "[IPv6]:port". What they say becomes:
//
//	           program                              service
//	found      exit status 0 and an address         200 and an address, as plain text or a JSON string
//	not mine   exit status 0 and no output;         204, 404 or 410; 200 with an empty body or null
//	           1 and no output at all, like grep
//	cannot     any other exit status, or 1 with a   any other status, a redirect included; a web page; no
//	know       message; a signal; no answer in      connection; no answer in time; too much of it
//	           time; too much output
//	refused    exit status 0 and something else     200 and something else
//
// With Batch a program gets the ids on its standard input, one a line, and writes "ID ADDRESS" lines; a service gets a
// JSON list of ids and answers 200 with a JSON object, id to address or null. Ids that are left out are "not mine" (but
// "cannot know" when the program fails: then only the lines that it wrote count), others than those asked for are passed
// over, empty lines and those that begin with # too. Exit status 1 and 404 mean nothing special then.
//
// A program runs in /, its environment is a PATH and nothing else. When it ends, or its time is over, what is left of
// its process group is killed. A service is asked without a proxy. What was learnt is kept and renewed as Cache has it.
type Callback struct {
	*Cache
	http *service // nil: a program
}

// NewCallback returns the resolver; nothing is called before the first Resolve.
func NewCallback(o CallbackOptions) (*Callback, error) {
	c, err := newCallback(o)
	if err != nil {
		return nil, fmt.Errorf("callback resolver: %w", err)
	}
	return c, nil
}

func newCallback(o CallbackOptions) (c *Callback, err error) {
	c = &Callback{}
	limits := CacheOptions{TTL: o.TTL, Timeout: o.Timeout, Parallel: o.Parallel}
	switch {
	case (len(o.Exec) == 0) == (o.URL == ""):
		return nil, errors.New("give it either exec: [PROGRAM] or url: URL")
	case len(o.Exec) > 0:
		if o.CA != "" || o.TokenFile != "" {
			return nil, errors.New("ca and token_file go with url")
		}
		p, err := newProgram(o)
		if err != nil {
			return nil, err
		}
		if o.Batch {
			c.Cache, err = Batch(p.all, limits)
		} else {
			c.Cache, err = Each(p.one, limits)
		}
		return c, err
	case o.User != "":
		return nil, errors.New("user goes with exec")
	}
	if c.http, err = newService(o); err != nil {
		return nil, err
	}
	if o.Batch {
		c.Cache, err = Batch(c.http.all, limits)
	} else {
		c.Cache, err = Each(c.http.one, limits)
	}
	return c, err
}

// Close ends what is under way, and waits for that.
func (c *Callback) Close() error {
	err := c.Cache.Close()
	if c.http != nil {
		c.http.client.CloseIdleConnections()
	}
	return err
}
