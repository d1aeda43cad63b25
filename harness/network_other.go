//go:build !linux

package harness

import (
	"context"
	"errors"
	"io"
)

var errLinuxOnly = errors.New("network namespaces are Linux's")

func here() (network, error) { return network{}, errLinuxOnly }

func again(context.Context, []string, io.Writer, io.Writer) (int, error) { return 0, errLinuxOnly }
