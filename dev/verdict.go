package dev

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
)

func (st *story) summary(r *load.Report) {
	method := "GET"
	if st.clients.PostShare > 0 {
		method = fmt.Sprintf("%.0f%% of them POST", 100*st.clients.PostShare)
	}
	st.figure("requests", fmt.Sprintf("%d (%s)", r.Sent, method))
	st.figure("requests failed", fmt.Sprint(r.Failed+r.Dropped))
	st.figure("requests repeated by the client", fmt.Sprint(r.Repeated))
	st.figure("latency: half, 99 %, longest", fmt.Sprintf("%s, %s, %s", milliseconds(r.Latency.Quantile(.5)), milliseconds(r.Latency.Quantile(.99)), milliseconds(r.Latency.Max())))
	st.figure("reloads of Nginx", reloads(st.site))
	fmt.Fprintln(st.out)
	for _, f := range st.figures {
		fmt.Fprintf(st.out, "  %-46s  %s\n", f[0], f[1])
	}
	fmt.Fprintln(st.out)
}

// reloads counts them in Nginx's own log.
func reloads(s *Site) string {
	text, err := os.ReadFile(s.Nginx().ErrorLog)
	if err != nil {
		return "unknown: " + err.Error()
	}
	return fmt.Sprint(bytes.Count(text, []byte(", reconfiguring")))
}

// verdict is nil only if every request was sent and answered well.
func verdict(r *load.Report) error {
	if r.Sent == 0 {
		return errors.New("no request was sent")
	}
	if r.OK == r.Sent && r.Dropped == 0 {
		return nil
	}
	why := reasons(r.ByReason)
	if r.Dropped > 0 {
		why = strings.TrimPrefix(fmt.Sprintf("%s, never sent: %d", why, r.Dropped), ", ")
	}
	return fmt.Errorf("%d of %d requests failed (%s)", r.Failed+r.Dropped, r.Sent+r.Dropped, why)
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
