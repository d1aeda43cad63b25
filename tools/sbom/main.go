// Command sbom says what is in a Go binary, as the linker noted it there: a bill of materials in CycloneDX's form, or
// the licences of all of it. It looks at no source and at no network; the modules have to be in the module cache, as they
// are after a build.
//
//	sbom --version V BINARY        the bill, as JSON; SOURCE_DATE_EPOCH is its time
//	sbom --licences BINARY…        the texts of the licences, each module once
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func main() {
	version := flag.String("version", "", "the version of the `binary`")
	texts := flag.Bool("licences", false, "print the licences instead")
	flag.Parse()
	var err error
	switch {
	case *texts:
		err = printLicences(os.Stdout, flag.Args())
	case flag.NArg() == 1 && *version != "":
		err = printBill(os.Stdout, flag.Arg(0), *version)
	default:
		err = errors.New("want --version V BINARY, or --licences BINARY…")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func printBill(w io.Writer, binary, version string) error {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("set SOURCE_DATE_EPOCH to the time of the build in Unix seconds: %w", err)
	}
	parts, err := modules(binary)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	enc := cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON)
	enc.SetPretty(true)
	return enc.EncodeVersion(bill(filepath.Base(binary), version, data, parts, time.Unix(seconds, 0)), cdx.SpecVersion1_6) // what scanners read by now
}

// bill is the bill of one binary; the same binary has the same bill.
func bill(name, version string, data []byte, parts []module, now time.Time) *cdx.BOM {
	sum := sha256.Sum256(data)
	purl := "pkg:golang/github.com/bazbeans/bazbeans@" + version + "#cmd/" + name
	b := cdx.NewBOM()
	// A UUID that is made of the sum: version 8, "vendor-specific" (RFC 9562).
	sum8 := sum
	sum8[6], sum8[8] = sum8[6]&0x0f|0x80, sum8[8]&0x3f|0x80
	b.SerialNumber = fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum8[0:4], sum8[4:6], sum8[6:8], sum8[8:10], sum8[10:16])
	b.Metadata = &cdx.Metadata{
		Timestamp: now.UTC().Format(time.RFC3339),
		Component: &cdx.Component{
			BOMRef: purl, Type: cdx.ComponentTypeApplication, Name: name, Version: version, PackageURL: purl, Licenses: licensed("Apache-2.0"),
			Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
		},
	}
	var components []cdx.Component
	var refs []string
	for _, m := range parts {
		c := cdx.Component{
			BOMRef: m.purl(), Type: cdx.ComponentTypeLibrary, Name: m.path, Version: m.version, PackageURL: m.purl(),
			Scope: cdx.ScopeRequired, Licenses: licensed(m.licence),
		}
		if m.sum != "" { // of the module's files: https://go.dev/ref/mod#go-sum-files
			c.Properties = &[]cdx.Property{{Name: "go:sum", Value: m.sum}}
		}
		components, refs = append(components, c), append(refs, c.BOMRef)
	}
	b.Components = &components
	// Which module wants which the linker does not note.
	b.Dependencies = &[]cdx.Dependency{{Ref: purl, Dependencies: &refs}}
	return b
}

func licensed(id string) *cdx.Licenses {
	return &cdx.Licenses{{License: &cdx.License{ID: id}}}
}

// module is one that is linked into a binary, or Go's own library.
type module struct{ path, version, sum, dir, licence string }

func (m module) purl() string { return "pkg:golang/" + m.path + "@" + m.version }

// modules are those that are linked into a binary, Go's own library first.
func modules(binary string) ([]module, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", binary, err)
	}
	at, err := folders(info)
	if err != nil {
		return nil, err
	}
	parts := []module{{path: "stdlib", version: strings.TrimPrefix(info.GoVersion, "go"), dir: at["stdlib"]}} // as scanners name it
	for _, d := range info.Deps {
		if d.Replace != nil {
			d = d.Replace
		}
		parts = append(parts, module{path: d.Path, version: d.Version, sum: d.Sum, dir: at[key(d)]})
	}
	for i := range parts {
		m := &parts[i]
		if m.licence, _, err = licence(m.dir); err != nil {
			return nil, fmt.Errorf("%s %s: %w", m.path, m.version, err)
		}
	}
	return parts, nil
}

func key(m *debug.Module) string { return m.Path + "@" + m.Version }
