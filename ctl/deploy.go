package ctl

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// fileMost is how large a deployed file may be: it goes through Redis in one piece.
const fileMost = 2 << 20

func (s *session) deployFileCmd() *cobra.Command {
	o := sending{choice: choice{asks: always}}
	var f upload
	cmd := &cobra.Command{
		Use: "deploy-file NODE... LOCAL REMOTE", GroupID: act,
		Short: "Put a file on nodes.",
		Long: `The agent writes it in one step, only below the folders that its own config names (files.roots), and
keeps what was there before. REMOTE is an absolute path. At most 2 MiB; - is stdin.

` + sendingCodes,
		Example:           "  bbctl deploy-file web3 app.env /opt/app/app.env\n  bbctl deploy-file --dc dc1 --yes --seal secrets.env /opt/app/secrets.env",
		ValidArgsFunction: s.completeDeploy,
		PreRunE:           o.check,
	}
	choose := s.onChoice(&o.choice, func(ctx context.Context, ids []string) error {
		args, err := s.fileArgs(f)
		if err != nil {
			return err
		}
		return s.carry(ctx, &o, order{verb: "deploy-file", kind: "deploy_file", args: args}, ids, s.showOutcome)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) < 2 {
			return usagef(cmd, "deploy-file needs LOCAL and REMOTE after the nodes")
		}
		f.local, f.remote = args[len(args)-2], args[len(args)-1]
		if !path.IsAbs(f.remote) || path.Clean(f.remote) != f.remote {
			return usagef(cmd, "%q is no plain absolute path on the node", f.remote)
		}
		return choose(cmd, args[:len(args)-2])
	}
	o.bind(s, cmd, time.Minute)
	cmd.Flags().StringVar(&f.mode, "mode", "", "the file's `mode` on the node, like 0640 (default: as it was)")
	cmd.Flags().StringVar(&f.owner, "owner", "", "the file's `user` or user:group on the node, if its config allows them (default: as it was)")
	return cmd
}

// upload is a file and what it shall be on nodes.
type upload struct{ local, remote, mode, owner string }

// fileArgs are the original system's arguments of deploy_file, and ours beside them.
func (s *session) fileArgs(f upload) (map[string]any, error) {
	in := s.stdin
	if f.local != "-" {
		file, err := os.Open(f.local)
		if err != nil {
			return nil, fmt.Errorf("read the file: %w", err)
		}
		defer file.Close()
		in = file
	}
	b, err := io.ReadAll(io.LimitReader(in, fileMost+1))
	if err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	if len(b) > fileMost {
		return nil, fmt.Errorf("%s is larger than the %d MiB that go through redis: fetch it with exec instead", f.local, fileMost>>20)
	}
	sum := sha256.Sum256(b)
	args := map[string]any{"path": f.remote, "sha256": hex.EncodeToString(sum[:])}
	if utf8.Valid(b) {
		args["content"] = string(b)
	} else {
		args["content"], args["encoding"] = base64.StdEncoding.EncodeToString(b), "base64"
	}
	for name, value := range map[string]string{"mode": f.mode, "owner": f.owner} {
		if value != "" {
			args[name] = value
		}
	}
	return args, nil
}

// completeDeploy offers nodes first, and files too from the second word on.
func (s *session) completeDeploy(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	ids, _ := s.completeNodes(cmd, args, to)
	if len(args) == 0 {
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}
