package lbd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// stuck is after how long without progress the loop counts as dead. The longest steps are a look of lookTimeout, a test of
// 30 s, and the proof of a reload after slow tests, 90 s.
const stuck = 2 * time.Minute

func listen(addr string) (net.Listener, error) {
	if addr == "" {
		return nil, nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("status.listen: %w (choose another with --status-listen, or \"\" for none)", err)
	}
	return ln, nil
}

// serve answers /healthz, /readyz, /status and /metrics until ctx ends.
func (l *LB) serve(ctx context.Context, ln net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if _, since := l.board.read(&l.cfg); since > stuck {
			http.Error(w, fmt.Sprintf("the loop has made no progress for %s", since.Round(time.Second)), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s, _ := l.board.read(&l.cfg); len(s.Problems) > 0 {
			http.Error(w, strings.Join(s.Problems, "\n"), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		s, _ := l.board.read(&l.cfg)
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(s) // the reader has gone
	})
	mux.Handle("GET /metrics", l.metrics.handler())
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: log.New(&seldom{log: l.log, every: time.Minute}, "", 0)}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // nothing that it serves is worth waiting for
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve status: %w", err)
	}
	return nil
}

// seldom takes the lines of net/http's server into a log, in the log's form, and one that repeats no more often than every so
// often: out of file descriptors that server has one each second.
type seldom struct {
	log   *slog.Logger
	every time.Duration

	mu   sync.Mutex
	said map[string]time.Time
}

func (s *seldom) Write(line []byte) (int, error) {
	text, _, _ := strings.Cut(strings.TrimSpace(string(line)), "; retrying in ") // that time is another one each time at first
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(s.said, func(_ string, at time.Time) bool { return now.Sub(at) >= s.every })
	if _, ok := s.said[text]; ok {
		return len(line), nil
	}
	if s.said == nil {
		s.said = map[string]time.Time{}
	}
	s.said[text] = now
	s.log.Error("status.listen has trouble", "error", text)
	return len(line), nil
}
