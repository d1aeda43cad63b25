package trust

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unicode"
)

// The first words of a key's line. A line is "<word> <base64> <comment>", as in an SSH key file.
const (
	publicWord  = "bazbeans-ed25519"
	privateWord = "bazbeans-ed25519-private"
)

// PrivateKey signs commands. It belongs to an operator, or to a machine that acts for one.
type PrivateKey struct {
	key     ed25519.PrivateKey
	comment string
}

// NewKey makes a key; comment says whose it is, for people.
func NewKey(comment string) (PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("make key: %w", err)
	}
	return PrivateKey{key, plain(comment)}, nil
}

// String hides the key, so that no log or error can show it.
func (k PrivateKey) String() string { return "private key " + k.Public().ID() }

// GoString is String, for %#v.
func (k PrivateKey) GoString() string { return k.String() }

// Public returns what nodes are given.
func (k PrivateKey) Public() PublicKey {
	pub, _ := k.key.Public().(ed25519.PublicKey)
	return PublicKey{pub, k.comment}
}

// Write writes the key to a new file that only its owner can read. A file that is there stays, and is an error.
func (k PrivateKey) Write(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write private key: %w", err)
	}
	_, err = fmt.Fprintln(f, line(privateWord, k.key.Seed(), k.comment))
	return errors.Join(err, f.Sync(), f.Close())
}

// ReadPrivateKey reads what Write wrote. A file that others than its owner can read is refused, as ssh does.
func ReadPrivateKey(path string) (PrivateKey, error) {
	text, err := readSecret(path)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("private key: %w", err)
	}
	seed, comment, err := parseLine(privateWord, text)
	if err == nil && len(seed) != ed25519.SeedSize {
		err = errors.New("its length is wrong")
	}
	if err != nil {
		// Not the text: it may be a key of another kind.
		return PrivateKey{}, fmt.Errorf("private key %s: %w (make one with: bbctl keygen)", path, err)
	}
	return PrivateKey{ed25519.NewKeyFromSeed(seed), comment}, nil
}

// readSecret reads the first line of a file that nobody but its owner may read.
func readSecret(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by others than its owner (mode %04o): chmod 600 %s", path, perm, path)
	}
	if !info.Mode().IsRegular() {
		return "", &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	b, err := os.ReadFile(path)
	first, _, _ := strings.Cut(string(b), "\n")
	return first, err
}

// PublicKey verifies what its private key signed.
type PublicKey struct {
	key     ed25519.PublicKey
	Comment string // for people
}

// ParsePublicKey reads a line "bazbeans-ed25519 <base64> <comment>".
func ParsePublicKey(text string) (PublicKey, error) {
	key, comment, err := parseLine(publicWord, text)
	if err == nil && len(key) != ed25519.PublicKeySize {
		err = errors.New("its length is wrong")
	}
	if err != nil {
		return PublicKey{}, fmt.Errorf("public key: %w (want the line that bbctl keygen prints: %s BASE64 COMMENT)", err, publicWord)
	}
	return PublicKey{key, comment}, nil
}

// String is the key's line.
func (k PublicKey) String() string { return line(publicWord, k.key, k.Comment) }

// ID names the key: 32 hexadecimal digits of its SHA-256.
func (k PublicKey) ID() string {
	sum := sha256.Sum256(k.key)
	return hex.EncodeToString(sum[:16])
}

func line(word string, key []byte, comment string) string {
	return strings.TrimSpace(word + " " + base64.StdEncoding.EncodeToString(key) + " " + comment)
}

func parseLine(word, text string) (key []byte, comment string, err error) {
	first, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	if first != word {
		return nil, "", fmt.Errorf("it does not begin with %q", word)
	}
	encoded, comment, _ := strings.Cut(strings.TrimSpace(rest), " ")
	key, err = base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, "", errors.New("it is not base64")
	}
	return key, plain(comment), nil
}

// plain makes a comment one harmless line of at most 100 bytes.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > 100 {
		s = strings.ToValidUTF8(s[:100], "")
	}
	return strings.TrimSpace(s)
}
