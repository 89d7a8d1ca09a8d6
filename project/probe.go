package project

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/types"
)

// Keys of `healthcheck` that the compose specification leaves to implementations. They are told apart from those that
// nobody knows by name alone: other x- keys stay without effect, as everywhere.
const (
	keyHTTP        = "x-http"         // a URL, or a mapping of url, method, headers, status, insecure
	keyTCP         = "x-tcp"          // a port
	keyOnUnhealthy = "x-on-unhealthy" // restart, or nothing
)

// HealthExtensions is what a service's health check says beyond the compose specification.
type HealthExtensions struct {
	// HTTP is a request that has to be answered well; nil for none.
	HTTP *HTTPProbe
	// TCP is a port that has to accept connections; 0 for none.
	TCP uint16
	// RestartUnhealthy restarts a container that is unhealthy.
	RestartUnhealthy bool
}

// HTTPProbe is a request to the container itself. Without Status an answer of 200-399 is a success.
type HTTPProbe struct {
	URL      string
	Method   string
	Headers  map[string]string
	Status   [][2]int // from, to
	Insecure bool
}

// HealthExtensions reads the x- keys of a service's health check; Load has made sure that they are right.
func (p *Project) HealthExtensions(service string) HealthExtensions {
	s := p.Services[service]
	x, _ := readHealthExtensions(&s)
	return x
}

// keyError is what is wrong with a key below healthcheck.
type keyError struct {
	path []string
	fix  string
	error
}

func readHealthExtensions(s *types.ServiceConfig) (x HealthExtensions, err error) {
	if s.HealthCheck == nil {
		return x, nil
	}
	all := s.HealthCheck.Extensions
	if v, ok := all[keyTCP]; ok {
		port, err := strconv.ParseUint(fmt.Sprint(v), 10, 16)
		if err != nil || port == 0 {
			return x, &keyError{[]string{keyTCP}, "write the port that the service listens on, as in `x-tcp: 5432`", fmt.Errorf("%v is no port", v)}
		}
		x.TCP = uint16(port)
	}
	if v, ok := all[keyHTTP]; ok {
		if x.HTTP, err = readHTTPProbe(s, v); err != nil {
			return x, err
		}
	}
	if x.TCP != 0 && x.HTTP != nil {
		return x, &keyError{[]string{keyTCP}, "remove one of them", errors.New("`x-http` and `x-tcp` exclude each other")}
	}
	switch v := all[keyOnUnhealthy]; v {
	case nil, "none":
	case "restart":
		x.RestartUnhealthy = true
	default:
		return x, &keyError{[]string{keyOnUnhealthy}, "write `restart` or `none`", fmt.Errorf("%v is nothing that can be done", v)}
	}
	return x, nil
}

const urlFix = "write the address inside the container, as in `http://localhost:8080/health`"

func readHTTPProbe(s *types.ServiceConfig, value any) (*HTTPProbe, error) {
	p := &HTTPProbe{Method: http.MethodGet}
	switch v := value.(type) {
	case string:
		p.URL = v
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if err := p.set(key, v[key]); err != nil {
				return nil, err
			}
		}
	default:
		return nil, &keyError{[]string{keyHTTP}, urlFix, fmt.Errorf("%v is no URL", value)}
	}
	u, err := url.Parse(p.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, &keyError{[]string{keyHTTP}, urlFix, fmt.Errorf("%q is no URL of http or https", p.URL)}
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, &keyError{[]string{keyHTTP}, urlFix, fmt.Errorf("%s is no port", port)}
		}
	}
	if host := u.Hostname(); host != "localhost" && host != s.Name && !loopback(host) {
		return nil, &keyError{[]string{keyHTTP}, urlFix, fmt.Errorf("its host %q is not the container: the request goes nowhere else", host)}
	}
	return p, nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// headerName is a token of RFC 9110, section 5.6.2.
var headerName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") })

// set reads one key of the long form.
func (p *HTTPProbe) set(key string, value any) error {
	fault := func(fix, format string, args ...any) error {
		return &keyError{[]string{keyHTTP, key}, fix, fmt.Errorf(format, args...)}
	}
	switch key {
	case "url":
		p.URL = fmt.Sprint(value)
	case "method":
		p.Method = strings.ToUpper(fmt.Sprint(value))
		if !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "OPTIONS"}, p.Method) {
			return fault("use GET, HEAD, POST, PUT or OPTIONS", "%v is no method", value)
		}
	case "headers":
		headers, ok := value.(map[string]any)
		if !ok {
			return fault("write a mapping of names to values", "the headers are no mapping")
		}
		p.Headers = map[string]string{}
		for name, v := range headers {
			text := fmt.Sprint(v)
			if !headerName().MatchString(name) || strings.ContainsAny(text, "\r\n\x00") {
				return fault("correct its name or value", "%q: %q is no header", name, text)
			}
			p.Headers[name] = text
		}
	case "status":
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		for _, v := range list {
			r, ok := statusRange(fmt.Sprint(v))
			if !ok {
				return fault("write 200, or 200-299, or a list of these", "%v is no status of HTTP", v)
			}
			p.Status = append(p.Status, r)
		}
	case "insecure":
		on, err := strconv.ParseBool(fmt.Sprint(value))
		if err != nil {
			return fault("write true or false", "%v is neither true nor false", value)
		}
		p.Insecure = on
	default:
		return fault("its keys are url, method, headers, status and insecure", "unknown key `%s`", key)
	}
	return nil
}

func statusRange(text string) (r [2]int, ok bool) {
	first, last, ranged := strings.Cut(text, "-")
	if !ranged {
		last = first
	}
	from, err1 := strconv.Atoi(strings.TrimSpace(first))
	to, err2 := strconv.Atoi(strings.TrimSpace(last))
	return [2]int{from, to}, err1 == nil && err2 == nil && 100 <= from && from <= to && to <= 599
}

// checkHealthExtensions is the rule for Load.
func checkHealthExtensions(_ *types.Project, s *types.ServiceConfig) *fault {
	_, err := readHealthExtensions(s)
	var bad *keyError
	if !errors.As(err, &bad) {
		return nil
	}
	path := append([]string{"healthcheck"}, bad.path...)
	return &fault{path: path, what: "`" + strings.Join(path, ".") + "`: " + bad.Error(), fix: bad.fix}
}
