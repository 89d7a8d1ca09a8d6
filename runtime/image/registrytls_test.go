package image

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tutti/runtime/image/imagetest"
	"tutti/runtime/image/registry"
)

// authority signs certificates into a folder.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.sign(t, "ca", x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign writes name.crt and name.key.
func (a *authority) sign(t *testing.T, name string, template x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(1), pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, parentKey := &template, key
	if a.cert != nil {
		parent, parentKey = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFiles(t, a.dir, map[string]string{
		name + ".crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		name + ".key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	})
	return cert, key
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) text(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(a.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Registries that are not on a loopback address: their certificates count, and plain HTTP must be configured. The name
// registry.test leads to the test's registries.
func TestImageRegistryTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.sign(t, "server", x509.Certificate{DNSNames: []string{"registry.test"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	a.sign(t, "client", x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	start := map[string]func() string{
		"tls": func() string { return imagetest.StartTLSRegistry(t, a.path("server.crt"), a.path("server.key"), "") },
		"client": func() string {
			return imagetest.StartTLSRegistry(t, a.path("server.crt"), a.path("server.key"), a.path("ca.crt"))
		},
		"plain HTTP": func() string { return imagetest.StartRegistry(t, false) },
	}
	ca := map[string]string{"ca.crt": a.text(t, "ca.crt")}
	steps := []struct {
		registry string
		files    map[string]string // in the registry's folder of certs.d
		want     string            // in the error; empty: it works
	}{
		{"tls", nil, "certs.d/registry.test:PORT/ca.crt"},
		{"tls", ca, ""},
		{"tls", map[string]string{"hosts.toml": "server = \"https://registry.test:PORT\"\nca = \"ca.pem\"\n", "ca.pem": ca["ca.crt"]}, ""},
		{"tls", map[string]string{"hosts.toml": "# broken\nserver = https\n"}, "hosts.toml:2: "},
		{"client", ca, "certs.d/registry.test:PORT/client.cert"},
		{"client", map[string]string{"ca.crt": ca["ca.crt"], "client.cert": a.text(t, "client.crt"), "client.key": a.text(t, "client.key")}, ""},
		{"plain HTTP", nil, `server = "http://registry.test:PORT"`},
		{"plain HTTP", map[string]string{"hosts.toml": "server = \"http://registry.test:PORT\"\n"}, ""},
	}
	for name, begin := range start {
		address := begin()
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		image := "registry.test:" + port + "/team/app:v1"
		for i, step := range steps {
			if step.registry != name {
				continue
			}
			dir := t.TempDir()
			for file, text := range step.files {
				writeFiles(t, filepath.Join(dir, "registry.test:"+port), map[string]string{file: strings.ReplaceAll(text, "PORT", port)})
			}
			s := openStore(t)
			configure(t, s, registry.Options{Dirs: []string{dir}, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, address)
			}})
			load(t, s, testImage("over "+name, image))
			_, pushErr := s.Push(t.Context(), image, PushOptions{})
			_, err := s.Pull(t.Context(), image, PullOptions{})
			want := strings.ReplaceAll(step.want, "PORT", port)
			for _, err := range []error{pushErr, err} {
				if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
					t.Errorf("step %d, %s: %v, want %q", i, name, err, want)
				}
			}
		}
	}
}
