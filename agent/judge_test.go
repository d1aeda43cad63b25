package agent

import (
	"testing"
	"time"
)

// play gives a judge one answer a second, + good and - bad, and returns the verdict after each: . well, x unwell.
func play(j *judge, at *time.Time, answers string) string {
	var said []byte
	for _, c := range answers {
		*at = at.Add(time.Second)
		why := ""
		if c == '-' {
			why = "no"
		}
		before := j.why
		if turned := j.hear(why, *at); turned != (j.why != before) {
			panic("a turn is not reported, or one too many")
		}
		if j.why == "" {
			said = append(said, '.')
		} else {
			said = append(said, 'x')
		}
	}
	return string(said)
}

func TestJudge(t *testing.T) {
	at := time.Unix(0, 0)
	for _, c := range []struct{ name, answers, want string }{
		{"one bad answer is noise", "-+-+-+", "......"},
		{"fall and rise", "--+++-+--", ".xxx....x"},
		{"a bad answer begins the count anew", "--++-+++", ".xxxxxx."},
	} {
		j := &judge{fall: 2, rise: 3}
		if got := play(j, &at, c.answers); got != c.want {
			t.Errorf("%s: %s\n got %s\nwant %s", c.name, c.answers, got, c.want)
		}
	}
	j := &judge{fall: 2, rise: 3, fresh: true, why: "not passed yet"}
	if got := play(j, &at, "--+-+--"); got != "xx....x" {
		t.Errorf("a new one: %s", got)
	}
	if j.flaps != 0 {
		t.Error("its first fall counts as a flap")
	}
}

func TestFlappingIsDamped(t *testing.T) {
	at := time.Unix(0, 0)
	j := &judge{fall: 1, rise: 2}
	for i, want := range []int{2, 4, 8, 16, 16} {
		if play(j, &at, "-"); j.needs() != want {
			t.Errorf("fall %d: back after %d good in a row, want %d", i, j.needs(), want)
		}
		for n := 1; n < want; n++ {
			if play(j, &at, "+"); j.why == "" {
				t.Fatalf("fall %d: back after %d", i, n)
			}
		}
		if play(j, &at, "+"); j.why != "" {
			t.Fatalf("fall %d: not back after %d", i, want)
		}
	}
	if play(j, &at, "-"); j.why != "no (flapping: back after 16 good in a row)" {
		t.Errorf("why %q", j.why)
	}
	if play(j, &at, "+++"); j.progress() != "3 of 16 in a row" {
		t.Errorf("progress %q", j.progress())
	}
	play(j, &at, "+++++++++++++")
	at = at.Add(2*flapQuiet + time.Minute) // two of three are forgotten
	if play(j, &at, "-"); j.needs() != 4 {
		t.Errorf("after some quiet: back after %d good in a row, want 4", j.needs())
	}
	play(j, &at, "++++")
	at = at.Add(time.Hour)
	if play(j, &at, "-"); j.why != "no" || j.needs() != 2 {
		t.Errorf("after much quiet: %q, back after %d", j.why, j.needs())
	}
}
