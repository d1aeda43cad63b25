package servers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Certificates are PEM files of a certificate authority that nobody else
// trusts, and of one server and one client that it signed. They hold for a day.
type Certificates struct {
	CA                    string
	ServerCert, ServerKey string // for 127.0.0.1 and localhost
	ClientCert, ClientKey string

	client *tls.Config
}

// NewCertificates makes them in dir.
func NewCertificates(dir string) (*Certificates, error) {
	file := func(name string) string { return filepath.Join(dir, name+".pem") }
	c := &Certificates{CA: file("ca"), ServerCert: file("server"), ServerKey: file("server-key"),
		ClientCert: file("client"), ClientKey: file("client-key")}
	ca := certificate("test authority")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if err := sign(ca, ca, caKey, caKey, c.CA, ""); err != nil {
		return nil, err
	}
	server, client := certificate("test server"), certificate("test client")
	server.IPAddresses, server.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"}
	// A Redis is its replicas' and its cluster's client, too, and shows this certificate there.
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for cert, files := range map[*x509.Certificate][2]string{server: {c.ServerCert, c.ServerKey}, client: {c.ClientCert, c.ClientKey}} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		if err := sign(cert, ca, key, caKey, files[0], files[1]); err != nil {
			return nil, err
		}
	}
	pair, err := tls.LoadX509KeyPair(c.ClientCert, c.ClientKey)
	if err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	c.client = &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}
	return c, nil
}

func certificate(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // crypto/rand does not fail
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
}

// sign writes cert, signed by parent, and its key unless keyFile is empty.
func sign(cert, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey, certFile, keyFile string) error {
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	if err != nil {
		return fmt.Errorf("sign %s: %w", certFile, err)
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil || keyFile == "" {
		return err
	}
	der, err = x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode %s: %w", keyFile, err)
	}
	return os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// redisArgs are the options of a Redis that speaks TLS on port and nothing
// else; its replication and its cluster do, too.
func (c *Certificates) redisArgs(port int) []string {
	return []string{"--port", "0", "--tls-port", strconv.Itoa(port), "--tls-ca-cert-file", c.CA,
		"--tls-cert-file", c.ServerCert, "--tls-key-file", c.ServerKey, "--tls-auth-clients", "yes",
		"--tls-replication", "yes", "--tls-cluster", "yes"}
}

func (c *Certificates) dial(addr string) (net.Conn, error) {
	return tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp", addr, c.client)
}
