package ctl

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/conf"
	"github.com/bazbeans/bazbeans/pool"
)

// config is bbctl's file: the settings of one site, or of several by name.
type config struct {
	settings       `yaml:",inline"`
	CurrentContext string              `yaml:"current_context"` // the one that is used without --context
	Contexts       map[string]settings `yaml:"contexts"`
}

// settings are those of one site. Flags beat them.
type settings struct {
	Redis      pool.Config `yaml:"redis"`
	SigningKey string      `yaml:"signing_key"` // file; a ~/ at its beginning is the home folder
	As         string      `yaml:"as"`
	Defaults   struct {
		Output   format        `yaml:"output"`
		Timeout  time.Duration `yaml:"timeout"`
		Parallel int           `yaml:"parallel"`
	} `yaml:"defaults"`
}

// configFile is the file of this run, "" for none, and whether the user named it: then it must be there.
func (s *session) configFile() (path string, named bool) {
	if s.config != "" {
		return s.config, true
	}
	if dir := configDir(); dir != "" {
		return filepath.Join(dir, "config.yaml"), false
	}
	return "", false
}

// configDir is bazbeans' folder in the user's configuration; "" when there is no home to look in.
func configDir() string {
	dir := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) { // the XDG base directory specification: a relative path is ignored
		home := os.Getenv("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "bazbeans")
}

// readConfig reads the file, if there is one.
func (s *session) readConfig() (cfg config, path string, err error) {
	path, named := s.configFile()
	if path == "" {
		return cfg, "", nil
	}
	if err := conf.Load(path, &cfg); err != nil {
		if !named && errors.Is(err, os.ErrNotExist) {
			return cfg, path, nil
		}
		return cfg, path, err
	}
	for name := range cfg.Contexts {
		if err := pool.CheckID(name); err != nil {
			return cfg, path, fmt.Errorf("%s: contexts: %w", path, err)
		}
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 && holdsPassword(path) {
		s.say("%s holds a password and can be read by others: chmod 600 %s", path, path)
	}
	return cfg, path, nil
}

var inURL = regexp.MustCompile(`://[^/\s]*:([^@/\s]+)@`)

// holdsPassword reports whether a URL in the file holds a password itself, and not a ${NAME} in its place.
func holdsPassword(path string) bool {
	src, err := os.ReadFile(path)
	if err != nil {
		return false // it was read a moment ago: nothing to warn of
	}
	for _, m := range inURL.FindAllSubmatch(src, -1) {
		if !strings.HasPrefix(string(m[1]), "${") {
			return true
		}
	}
	return false
}

// settings returns those of the context that the command line, or else the file, chose. A Redis that is named on the
// command line is a site of its own: the current context's name and key are not for it.
func (s *session) settings() (settings, error) {
	cfg, path, err := s.readConfig()
	if err != nil {
		return settings{}, err
	}
	name := s.context
	if name == "" && s.redisURL == "" {
		name = cfg.CurrentContext
	}
	set := cfg.settings
	if name != "" {
		var ok bool
		if set, ok = cfg.Contexts[name]; !ok {
			return set, cfg.noContext(name, path)
		}
		s.site = name
	} else if len(cfg.Contexts) > 0 && s.redisURL == "" && cfg.Redis.URL == "" && cfg.Redis.Sentinel.Master == "" && len(cfg.Redis.Cluster.Addrs) == 0 {
		return set, fmt.Errorf("no context is chosen: use --context, or bbctl context use NAME (%s has %s)", path, strings.Join(cfg.names(), ", "))
	}
	if s.redisURL != "" {
		// The flag names one Redis; Sentinels or a cluster of the file would beat it.
		set.Redis.URL, set.Redis.Sentinel, set.Redis.Cluster = s.redisURL, pool.Sentinel{}, pool.Cluster{}
	}
	return set, nil
}

func (c *config) names() []string { return slices.Sorted(maps.Keys(c.Contexts)) }

func (c *config) noContext(name, path string) error {
	if len(c.Contexts) == 0 {
		return fmt.Errorf("no context %q: %s has none (write contexts: {%s: {redis: {url: …}}})", name, path, name)
	}
	return fmt.Errorf("no context %q in %s%s", name, path, didYouMean(name, c.names(), "bbctl context list"))
}

// apply puts the settings where no flag was given.
func (s *session) apply(set settings) error {
	given := func(flag string) bool { return s.root != nil && s.root.PersistentFlags().Changed(flag) }
	if set.As != "" && !given("as") {
		s.as = set.As
	}
	if set.SigningKey != "" && s.key == "" {
		s.key = fromHome(set.SigningKey)
	}
	d := set.Defaults
	if d.Output != "" && !given("output") {
		if err := s.output.Set(string(d.Output)); err != nil {
			return fmt.Errorf("defaults.output %q: %w", d.Output, err)
		}
	}
	if d.Timeout != 0 && !given("timeout") {
		s.timeout = d.Timeout
	}
	s.parallel = d.Parallel
	return nil
}

// fromHome reads ~/ as a shell does.
func fromHome(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(os.Getenv("HOME"), rest)
	}
	return path
}
