package render

import (
	"fmt"
	"regexp"
	"strings"
)

// Balance is how Nginx chooses a server of an upstream. The zero value is round_robin. Only ParseBalance and
// UnmarshalText make others, so that what a Balance prints is always safe in a configuration.
type Balance struct{ directive string } // as in nginx.conf without the ";", "" for round_robin

// hashKey is the key of `hash`: variables and harmless literals, and not longer than anybody would write. Braces
// and quotes are left out on purpose.
var hashKey = regexp.MustCompile(`\A(?:\$[A-Za-z_][A-Za-z0-9_]*|[A-Za-z0-9_.:/@-]){1,128}\z`)

// ParseBalance reads the config's `balance`: round_robin (also ""), least_conn, random, "random two",
// "random two least_conn", ip_hash or "hash KEY [consistent]". KEY holds at least one $variable, and besides
// variables only letters, digits and _ . : / @ -.
func ParseBalance(s string) (Balance, error) {
	words := strings.Fields(s)
	directive := strings.Join(words, " ")
	switch directive {
	case "", "round_robin":
		return Balance{}, nil
	case "least_conn", "random", "random two", "random two least_conn", "ip_hash":
		return Balance{directive}, nil
	}
	if words[0] != "hash" || len(words) < 2 || len(words) > 3 || len(words) == 3 && words[2] != "consistent" {
		return Balance{}, fmt.Errorf(`balance %.80q is not known: use round_robin, least_conn, random, "random two", `+
			`"random two least_conn", ip_hash or "hash KEY [consistent]"`, s)
	}
	if key := words[1]; !hashKey.MatchString(key) || !strings.Contains(key, "$") {
		return Balance{}, fmt.Errorf("balance %.80q: the key of hash needs a $variable, and may hold besides only "+
			"A-Z a-z 0-9 _ . : / @ -", s)
	}
	return Balance{directive}, nil
}

// String returns the balance as the config spells it.
func (b Balance) String() string {
	if b.directive == "" {
		return "round_robin"
	}
	return b.directive
}

// MarshalText and UnmarshalText are String and ParseBalance for configuration files.
func (b Balance) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText is ParseBalance.
func (b *Balance) UnmarshalText(text []byte) (err error) {
	*b, err = ParseBalance(string(text))
	return err
}

// KeepsPlaces reports whether a client's server depends on the places of all servers in the list (ip_hash and hash):
// then a frozen node has to stay in it as Down, and all load balancers need the same order.
func (b Balance) KeepsPlaces() bool {
	return b.directive == "ip_hash" || strings.HasPrefix(b.directive, "hash ")
}

// AllowsBackup reports whether Nginx takes backup servers with it: not with ip_hash, hash and random.
// Source: "backup" in https://nginx.org/en/docs/http/ngx_http_upstream_module.html#server
func (b Balance) AllowsBackup() bool {
	return !b.KeepsPlaces() && !strings.HasPrefix(b.directive, "random")
}
