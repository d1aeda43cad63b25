//go:build !linux

package names

import "errors"

func monitorTCP([]byte) ([]socket, error) { return nil, errors.ErrUnsupported }
