// Package cases holds the standard cases of `lbd test`, and what lbd's own template writes for them. It does not play
// them: package harness does, and docs/harness.md says what a case looks like and how to write one's own.
package cases

import "embed"

// FS has every case in its root, named NAME.yaml, and below golden/TEMPLATE/NAME.conf what the template writes.
//
//go:embed *.yaml golden
var FS embed.FS
