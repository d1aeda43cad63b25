// Package templates holds the upstream templates that ship with lbd. It does not parse or run them: package render
// does, and docs/templates.md says how to write one's own.
package templates

import "embed"

// FS has every shipped template in its root, named NAME.tmpl.
//
//go:embed *.tmpl
var FS embed.FS

// Default is the template of an upstream that names none.
const Default = "upstream.conf.tmpl"
