package ctl

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/conf"
	"github.com/bazbeans/bazbeans/pool"
)

// contextView is a context in JSON and YAML; its keys are public (docs/bbctl.md). It holds no secret.
type contextView struct {
	Name       string `json:"name"`
	Current    bool   `json:"current"`
	Redis      string `json:"redis"`
	As         string `json:"as"`
	SigningKey string `json:"signing_key"` // the file
}

func (s *session) contextCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "context",
		Short: "Choose the site that bbctl speaks to: list, use, current.",
		Long: `Contexts stand in the config file, each with a site's Redis, the key that signs commands, and the
name you go by there:

  contexts:
    prod: {redis: {url: rediss://10.0.0.5:6379/0}, signing_key: ~/.config/bazbeans/prod.key}
    test: {redis: {url: redis://10.9.0.5:6379/0}, as: ann}

--context NAME chooses one for a single command.`,
		Example: "  bbctl context list\n  bbctl --context prod list-nodes",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "List the contexts of the config file.",
		Example: "  bbctl context list\n  bbctl context list -o json",
		Args:    noArgs, RunE: func(*cobra.Command, []string) error { return s.listContexts() },
	}, &cobra.Command{
		Use: "current", Short: "Print the name of the context in use.",
		Long:    "Exit codes: 0 done · 1 none is in use",
		Example: "  bbctl context current\n  bbctl --context test context current",
		Args:    noArgs, RunE: func(*cobra.Command, []string) error { return s.currentContext() },
	}, &cobra.Command{
		Use: "use NAME", Short: "Use a context from now on.",
		Long:              "It sets current_context in the config file and leaves the rest of it as it is.",
		Example:           "  bbctl context use prod\n  bbctl context use test && bbctl list-nodes",
		Args:              oneArg("NAME"),
		ValidArgsFunction: s.completeContexts,
		RunE:              func(_ *cobra.Command, args []string) error { return s.useContext(args[0]) },
	})
	return cmd
}

// contexts are those of the file; its errors are those of a config.
func (s *session) contexts() (config, string, error) {
	cfg, path, err := s.readConfig()
	if err == nil && s.context != "" {
		cfg.CurrentContext = s.context
	}
	if _, ok := cfg.Contexts[cfg.CurrentContext]; err == nil && cfg.CurrentContext != "" && !ok {
		err = cfg.noContext(cfg.CurrentContext, path)
	}
	if err != nil {
		err = &cli.Error{Code: cli.Usage, Err: err}
	}
	return cfg, path, err
}

func (s *session) listContexts() error {
	cfg, path, err := s.contexts()
	if err != nil {
		return err
	}
	views := []contextView{}
	for _, name := range cfg.names() {
		set := cfg.Contexts[name]
		views = append(views, contextView{name, name == cfg.CurrentContext, whereIs(set.Redis), set.As, set.SigningKey})
	}
	if len(views) == 0 {
		s.say("no contexts in %s (see bbctl context --help)", path)
	}
	return s.show(views, func(w *bytes.Buffer) {
		t := table{columns: []column{{name: "CURRENT", keep: true}, {name: "NAME", keep: true}, {name: "REDIS", least: 16, keep: true}, {name: "AS"}, {name: "SIGNING KEY"}}}
		for _, v := range views {
			star := ""
			if v.Current {
				star = "*"
			}
			t.add(star, v.Name, v.Redis, dash(v.As), dash(v.SigningKey))
		}
		if len(views) > 0 {
			s.render(w, &t, nil)
		}
	})
}

// whereIs names a Redis without its password.
func whereIs(c pool.Config) string {
	switch {
	case c.Sentinel.Master != "":
		return "sentinel " + c.Sentinel.Master + " at " + strings.Join(c.Sentinel.Addrs, ",")
	case len(c.Cluster.Addrs) > 0:
		return "cluster at " + strings.Join(c.Cluster.Addrs, ",")
	case c.URL == "":
		return pool.DefaultURL
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return "(not readable)"
	}
	return u.Redacted()
}

func (s *session) currentContext() error {
	cfg, path, err := s.contexts()
	if err != nil {
		return err
	}
	if cfg.CurrentContext == "" {
		return fmt.Errorf("no context is in use in %s (choose one: bbctl context use NAME)", path)
	}
	return s.show(map[string]string{"name": cfg.CurrentContext}, func(w *bytes.Buffer) { fmt.Fprintln(w, cfg.CurrentContext) })
}

var currentLine = regexp.MustCompile(`(?m)^current_context:.*$`)

// useContext changes one line of the file, so that comments and order stay, and writes it in one step.
func (s *session) useContext(name string) error {
	s.context = "" // what is in use now may be anything
	cfg, path, err := s.readConfig()
	if err != nil {
		return &cli.Error{Code: cli.Usage, Err: err}
	}
	if _, ok := cfg.Contexts[name]; !ok {
		return &cli.Error{Code: cli.Usage, Err: cfg.noContext(name, path)}
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	line := "current_context: " + name
	out := currentLine.ReplaceAllLiteral(src, []byte(line))
	if !currentLine.Match(src) {
		out = append([]byte(line+"\n"), src...)
	}
	var after config
	if err := conf.Decode(out, &after); err != nil || after.CurrentContext != name {
		return errors.New("current_context can't be set in " + path + " as it is written: set it by hand to " + name)
	}
	info, err := os.Stat(path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path) // a link into a folder of dotfiles stays one
	}
	if err == nil {
		err = renameio.WriteFile(path, out, info.Mode().Perm(), renameio.IgnoreUmask())
	}
	if err != nil {
		return fmt.Errorf("write config: %w", err)
	}
	return s.show(map[string]string{"name": name}, func(w *bytes.Buffer) {
		fmt.Fprintf(w, "context %s is in use: redis at %s\n", name, whereIs(cfg.Contexts[name].Redis))
	})
}

// completeContexts offers the names of contexts.
func (s *session) completeContexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	cfg, _, _ := s.readConfig() // a broken file has no names to offer
	return cfg.names(), cobra.ShellCompDirectiveNoFileComp
}
