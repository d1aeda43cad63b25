package ctl

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/trust"
)

func (s *session) keygenCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make a key that signs commands.",
		Long: `It writes the private key to a new file that only you can read, and prints the public one: the line
for trusted_keys in each node's config. Name the file in the context (signing_key), or with --key.`,
		Example: "  bbctl keygen\n  bbctl keygen --out prod.key --as ann",
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return s.keygen(out) },
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` for the private key (default signing.key in the config's folder)")
	return cmd
}

func (s *session) keygen(out string) error {
	if out == "" {
		dir := configDir()
		if dir == "" {
			return fmt.Errorf("no home folder to write the key to: use --out FILE")
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("write private key: %w", err)
		}
		out = filepath.Join(dir, "signing.key")
	}
	key, err := trust.NewKey(s.as)
	if err != nil {
		return err
	}
	if err := key.Write(out); err != nil {
		return err
	}
	v := struct {
		File   string `json:"file"`
		ID     string `json:"id"`
		Public string `json:"public_key"`
	}{out, key.Public().ID(), key.Public().String()}
	s.say("the private key is in %s; nodes that shall obey it need this line in trusted_keys:", out)
	return s.show(v, func(w *bytes.Buffer) { fmt.Fprintln(w, v.Public) })
}
