package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/cli"
)

// healthTimeout is for all of them together: Docker counts a check that takes longer than its own timeout as failed
// without saying why.
const healthTimeout = 2500 * time.Millisecond

// health is nil when each URL answers 2xx. It is for containers whose image has no curl.
func health(urls []string) error {
	if len(urls) == 0 {
		return cli.Usagef("health needs at least one URL")
	}
	ctx, stop := context.WithTimeout(context.Background(), healthTimeout) // main has none: the process ends with it
	defer stop()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // through no proxy
	var errs []error
	for _, url := range urls {
		errs = append(errs, ask(ctx, client, url))
	}
	return errors.Join(errs...)
}

func ask(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return cli.Usagef("%w", err)
	}
	req.Header.Set("User-Agent", "bbinit/"+cli.Version())
	resp, err := client.Do(req)
	if err != nil {
		return err // it names the URL
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 200)) // only to explain
		return fmt.Errorf("%s answers %s: %s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	return nil
}
