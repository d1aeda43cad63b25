package harness

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The JUnit form as GitLab, Jenkins and GitHub's tools read it: a suite for each Nginx, a test case for each row.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`

		seconds float64
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitFailure `xml:"failure"`
		Out     string        `xml:"system-out,omitempty"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the report as JUnit XML.
func (r *Report) JUnit(w io.Writer) error {
	all := junitSuites{Name: "lbd test"}
	at := map[string]int{}
	seconds := 0.0
	for _, row := range r.Results {
		name := fmt.Sprintf("nginx %s, %s", row.Nginx, row.Engine)
		i, ok := at[name]
		if !ok {
			i = len(all.Suites)
			at[name] = i
			all.Suites = append(all.Suites, junitSuite{Name: name})
		}
		s := &all.Suites[i]
		c := junitCase{Class: row.Template, Name: row.Case, Time: inSeconds(row.Seconds)}
		if row.Requests > 0 {
			c.Out = fmt.Sprintf("%d requests: %s", row.Requests, row.Went)
		}
		if !row.OK {
			text := strings.Join(row.Faults, "\n\n")
			first, _, _ := strings.Cut(text, "\n")
			c.Failure = &junitFailure{Message: first, Type: "failed", Text: text}
			s.Failures++
			all.Failures++
		}
		s.Cases = append(s.Cases, c)
		s.seconds += row.Seconds
		seconds += row.Seconds
		s.Tests++
		all.Tests++
	}
	for i := range all.Suites {
		all.Suites[i].Time = inSeconds(all.Suites[i].seconds)
	}
	all.Time = inSeconds(seconds)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func inSeconds(s float64) string { return fmt.Sprintf("%.3f", s) }
