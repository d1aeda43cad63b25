package resolvers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestExplain(t *testing.T) {
	none := &asked{}
	fails := &asked{err: errors.New("down")}
	has := &asked{answers: Answers{"a": at("10.0.0.1"), "local": at("127.0.0.1")}}
	all := &asked{answers: Answers{"a": at("10.0.0.2"), "local": at("10.0.0.3")}}
	c := newChain(t, Link{Name: "none", Resolver: none}, Link{Name: "fails", Resolver: fails}, Link{Name: "has", Resolver: has}, Link{Name: "all", Resolver: all})
	for id, want := range map[string]string{
		"a":       "none not_mine, fails cannot_know, has found wins, all found: 10.0.0.1 <nil>",
		"local":   "none not_mine, fails cannot_know, has refused wins, all found: invalid IP address 127.0.0.1 is loopback",
		"ghost":   "none not_mine, fails cannot_know, has not_mine, all not_mine: invalid IP fails cannot know: down",
		"not-one": "none not_mine, fails cannot_know, has not_mine, all not_mine: invalid IP fails cannot know: down",
	} {
		r, testimonies := c.Explain(t.Context(), nodes(id)[0])
		var said []string
		for _, s := range testimonies {
			word := s.Link + " " + string(s.Outcome)
			if s.Won {
				word += " wins"
			}
			said = append(said, word)
		}
		if got := fmt.Sprintf("%s: %s %v", strings.Join(said, ", "), r.Addr, r.Err); !strings.HasPrefix(got, want) {
			t.Errorf("%s\n got %s\nwant %s", id, got, want)
		}
	}
	if len(c.last) != 0 {
		t.Errorf("it remembers %v", c.last)
	}
}

// A link that learns in the background is waited for, for people have the time.
func TestExplainWaitsForWhatIsLearnt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		takes := 3 * time.Second
		cache, err := Each(func(ctx context.Context, id string) (Endpoint, error) {
			select {
			case <-ctx.Done():
				return Endpoint{}, ctx.Err()
			case <-time.After(takes):
				return Endpoint{Addr: netip.MustParseAddr("10.0.0.1")}, nil
			}
		}, CacheOptions{Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		c := newChain(t, Link{Name: "slow", Resolver: cache})
		defer c.Close()
		if r, said := c.Explain(t.Context(), nodes("a")[0]); !r.Found() || !said[0].Won || said[0].Took < takes || said[0].Took > takes+time.Second {
			t.Errorf("%+v, %+v", r, said)
		}
		takes = time.Hour
		if r, said := c.Explain(t.Context(), nodes("b")[0]); r.Found() || said[0].Outcome != CannotKnow || said[0].Took > patient+Timeout {
			t.Errorf("%+v, %+v", r, said)
		}
	})
}
