package trust

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	sealWord = "bazbeans-x25519"
	openWord = "bazbeans-x25519-private"
)

// The suite of RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305.
var (
	kem  = hpke.DHKEM(ecdh.X25519())
	kdf  = hpke.HKDFSHA256()
	aead = hpke.ChaCha20Poly1305()
)

// SealKey is a node's public key: what is sealed with it, only that node can open.
type SealKey struct{ key hpke.PublicKey }

// ParseSealKey reads a line "bazbeans-x25519 <base64>", as it stands in a node's hash. Redis may lie about whose key it
// is: compare it with the one that was seen first, or by its Fingerprint with the node's own word.
func ParseSealKey(text string) (*SealKey, error) {
	b, _, err := parseLine(sealWord, text)
	if err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	key, err := kem.NewPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	return &SealKey{key}, nil
}

// String is the key's line.
func (k *SealKey) String() string { return line(sealWord, k.key.Bytes(), "") }

// Fingerprint is 32 hexadecimal digits of the key's SHA-256, for people to compare.
func (k *SealKey) Fingerprint() string {
	sum := sha256.Sum256(k.key.Bytes())
	return hex.EncodeToString(sum[:16])
}

func (k *SealKey) seal(binding, text []byte) ([]byte, error) {
	return hpke.Seal(k.key, kdf, aead, binding, text)
}

// OpenKey is a node's private key.
type OpenKey struct{ key hpke.PrivateKey }

// String hides the key.
func (k *OpenKey) String() string { return "private seal key" }

// GoString is String, for %#v.
func (k *OpenKey) GoString() string { return k.String() }

// Public returns what senders seal with.
func (k *OpenKey) Public() *SealKey { return &SealKey{k.key.PublicKey()} }

func (k *OpenKey) open(binding, sealed []byte) ([]byte, error) {
	if k == nil {
		return nil, errors.New("its arguments are sealed, and this node has no seal key: it needs a state_dir")
	}
	text, err := hpke.Open(k.key, kdf, aead, binding, sealed)
	if err != nil {
		return nil, errors.New("its arguments are not sealed for this node: has its seal key changed? (bbctl status shows the key)")
	}
	return text, nil
}

// OwnKey reads a node's seal key from a file, and makes it when there is none.
func OwnKey(path string) (*OpenKey, error) {
	text, err := readSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newOwnKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	b, _, err := parseLine(openWord, text)
	if err != nil {
		return nil, fmt.Errorf("seal key %s: %w (remove it, and the agent makes another)", path, err)
	}
	key, err := kem.NewPrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("seal key %s: %w (remove it, and the agent makes another)", path, err)
	}
	return &OpenKey{key}, nil
}

// newOwnKey writes beside the file and links it there: whoever is first wins, and nobody reads half a key.
func newOwnKey(path string) (*OpenKey, error) {
	key, err := kem.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("make seal key: %w", err)
	}
	b, err := key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("make seal key: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".seal-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("write seal key: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = fmt.Fprintln(tmp, line(openWord, b, ""))
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, fmt.Errorf("write seal key: %w", err)
	}
	switch err := os.Link(tmp.Name(), path); {
	case errors.Is(err, fs.ErrExist):
		return OwnKey(path)
	case err != nil:
		return nil, fmt.Errorf("write seal key: %w", err)
	}
	return &OpenKey{key}, nil
}
