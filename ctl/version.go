package ctl

import (
	"bytes"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
)

func (s *session) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show the version of this bbctl.",
		Example: "  bbctl version\n  bbctl version -o json",
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return s.printVersion() },
	}
}

func (s *session) printVersion() error {
	v := struct {
		Version string `json:"version"`
		Go      string `json:"go"`
	}{cli.Version(), runtime.Version()}
	return s.show(v, func(w *bytes.Buffer) { fmt.Fprintf(w, "bbctl %s\n", v.Version) })
}
