package registry

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
)

// maxText bounds what of a registry's own words is shown.
const maxText = 800

// queries are the parts of addresses that may hold what gives access, such as the signature of a redirect.
var queries = regexp.MustCompile(`(https?://[^\s?"]*)\?[^\s"]*`)

// Explain makes of an error of a transfer one for people: it names the registry, says what to do where that is known, and
// holds neither control characters nor the queries of addresses nor a registry's long answers. errors.Is and As find what
// err holds.
func Explain(err error, host string) error {
	if err == nil {
		return nil
	}
	host = Name(host)
	text := clean(err.Error())
	if hint := hint(err, host); hint != "" {
		text += ": " + hint
	}
	return &explained{text: fmt.Sprintf("registry %s: %s", host, text), cause: err}
}

type explained struct {
	text  string
	cause error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.cause }

// hint is what to do about an error; empty when that is for the registry's people alone.
func hint(err error, host string) string {
	dir := filepath.Join(CertsDir, host)
	var authority x509.UnknownAuthorityError
	var status remoteerrors.ErrUnexpectedStatus
	switch text := err.Error(); {
	case errors.As(err, &authority):
		return "to trust who signed it, put the certificate of that authority into " + filepath.Join(dir, "ca.crt")
	case strings.Contains(text, "tls: certificate required"), strings.Contains(text, "tls: bad certificate"):
		return "it wants a client certificate: put it into " + filepath.Join(dir, "client.cert") + " and its key into " + filepath.Join(dir, "client.key")
	case isPlainHTTP(err):
		return fmt.Sprintf("to use plain HTTP, write server = %q into %s", "http://"+host, filepath.Join(dir, "hosts.toml"))
	case errors.Is(err, docker.ErrInvalidAuthorization),
		errors.As(err, &status) && (status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden):
		return "to log in: tutti login " + host
	}
	return ""
}

// clean makes a text fit to be shown.
func clean(text string) string {
	text = queries.ReplaceAllString(text, "$1")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > maxText {
		text = string(runes[:maxText]) + "..."
	}
	return text
}
