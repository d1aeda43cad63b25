package render

import (
	"maps"
	"slices"
)

// FunctionNames lists what a template may call.
func FunctionNames() []string { return slices.Sorted(maps.Keys(known)) }
