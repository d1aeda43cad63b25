package bazbeans_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// Each claim of docs/security.md names the tests that hold it; they have to be there.
func TestSecurityClaimsAreHeld(t *testing.T) {
	page, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{} // of each package, by its folder
	claims := regexp.MustCompile("`([a-z/-]+): ((?:Test|Fuzz)[A-Za-z0-9_]+)`").FindAllStringSubmatch(string(page), -1)
	if len(claims) < 30 {
		t.Fatalf("only %d claims found", len(claims))
	}
	for _, c := range claims {
		pkg, name := c[1], c[2]
		if _, ok := tests[pkg]; !ok {
			out, err := exec.Command("grep", "-rhoE", "--include=*_test.go", `^func (Test|Fuzz)[A-Za-z0-9_]+\(`, pkg).Output()
			if err != nil {
				t.Errorf("%s: no tests: %v", pkg, err)
			}
			tests[pkg] = string(out)
		}
		if !strings.Contains(tests[pkg], "func "+name+"(") {
			t.Errorf("the page names %s: %s, which is not there", pkg, name)
		}
	}
	for row := range strings.SplitSeq(string(page), "\n") {
		if cells := strings.Split(row, "|"); len(cells) == 5 && !strings.Contains(row, "---") && !strings.Contains(row, "shown by") && !strings.Contains(cells[3], ": ") {
			t.Errorf("a claim that no test holds: %s", row)
		}
	}
}
