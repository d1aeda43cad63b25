package servers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Do sends one command on a connection of its own and returns the answer as
// text, the elements of a list one to a line. It does not log in: it is for
// setting a server up. What Redis refuses is an error with Redis's words.
func (r *Redis) Do(args ...string) (string, error) {
	conn, err := r.dial()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	var command strings.Builder
	fmt.Fprintf(&command, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&command, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(conn, command.String()); err != nil {
		return "", err
	}
	return readAnswer(bufio.NewReader(conn))
}

func (r *Redis) dial() (net.Conn, error) {
	if r.tls != nil {
		return r.tls.dial(r.Addr())
	}
	return net.DialTimeout("tcp", r.Addr(), time.Second)
}

// readAnswer reads one reply of the Redis protocol (RESP2).
func readAnswer(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, text := line[:1], strings.TrimRight(line[1:], "\r\n")
	n, _ := strconv.Atoi(text)
	switch {
	case kind == "-":
		return "", errors.New(text)
	case kind == "$" && n >= 0:
		b := make([]byte, n+len("\r\n"))
		_, err := io.ReadFull(in, b)
		return string(b[:n]), err
	case kind == "*":
		var all []string
		for range n {
			one, err := readAnswer(in)
			if err != nil {
				return "", err
			}
			all = append(all, one)
		}
		return strings.Join(all, "\n"), nil
	case kind == "$":
		return "", nil
	}
	return text, nil
}
