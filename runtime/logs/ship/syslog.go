package ship

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// How long a server may take to answer or to take a message.
const (
	dialTimeout = 5 * time.Second
	sendTimeout = 10 * time.Second
)

// Severities (RFC 5424, 6.2.1): Docker's for the two streams.
const (
	severityErr  = 3
	severityInfo = 6
)

const defaultFacility = 3 // daemon

// facilities are the names of RFC 5424, 6.2.1, as Docker accepts them.
var facilities = map[string]int{
	"kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8, "cron": 9,
	"authpriv": 10, "ftp": 11, "local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21,
	"local6": 22, "local7": 23,
}

func syslogOption(name string) bool {
	switch name {
	case "syslog-address", "syslog-facility", "syslog-format", "syslog-tls-ca-cert", "syslog-tls-cert", "syslog-tls-key", "syslog-tls-skip-verify":
		return true
	}
	return false
}

// syslogOptions are the options of Docker's syslog driver (https://docs.docker.com/engine/logging/drivers/syslog/).
type syslogOptions struct {
	network, address string // "", "": the host's own, over its socket
	facility         int
	format           string // "", rfc3164, rfc5424, rfc5424micro
	options          map[string]string
}

func parseSyslog(options map[string]string) (syslogOptions, error) {
	o := syslogOptions{facility: defaultFacility, format: options["syslog-format"], options: options}
	if f := options["syslog-facility"]; f != "" {
		n, known := facilities[f]
		if !known {
			var err error
			if n, err = strconv.Atoi(f); err != nil || n < 0 || n > 23 {
				return o, fmt.Errorf("syslog-facility %q is none: give a name like daemon or local0, or a number from 0 to 23", f)
			}
		}
		o.facility = n
	}
	switch o.format {
	case "", "rfc3164", "rfc5424", "rfc5424micro":
	default:
		return o, fmt.Errorf("syslog-format %q is none: give rfc3164, rfc5424 or rfc5424micro", o.format)
	}
	a := options["syslog-address"]
	if a == "" {
		return o, nil
	}
	u, err := url.Parse(a)
	if err != nil {
		return o, fmt.Errorf("syslog-address %q: %w", a, err)
	}
	o.network = u.Scheme
	switch u.Scheme {
	case "unix", "unixgram":
		o.address = u.Path
	case "udp", "tcp", "tcp+tls":
		o.address = u.Host
		if u.Port() == "" {
			o.address = net.JoinHostPort(u.Hostname(), "514")
		}
	default:
		return o, fmt.Errorf("syslog-address %q: give udp://, tcp://, tcp+tls://, unix:// or unixgram://", a)
	}
	return o, nil
}

// syslogSink writes messages in the forms of RFC 3164 and RFC 5424.
type syslogSink struct {
	o             syslogOptions
	conn          net.Conn
	tag, hostname string
	buf           []byte
}

func openSyslog(ctx context.Context, t Target) (sink, error) {
	o, err := parseSyslog(t.Options)
	if err != nil {
		return nil, err
	}
	s := &syslogSink{o: o, tag: t.Tag, hostname: t.Hostname}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if s.conn, err = o.dial(ctx); err != nil {
		return nil, fmt.Errorf("reach the syslog server: %w", err)
	}
	return s, nil
}

// localSockets are where a host's own server listens.
var localSockets = []string{"/dev/log", "/var/run/syslog", "/var/run/log"}

func (o syslogOptions) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	switch o.network {
	case "":
		for _, path := range localSockets {
			for _, network := range []string{"unixgram", "unix"} {
				if c, err := d.DialContext(ctx, network, path); err == nil {
					return c, nil
				}
			}
		}
		return nil, fmt.Errorf("there is none on this host: nobody listens on %s; set the logging option syslog-address", strings.Join(localSockets, ", "))
	case "tcp+tls":
		config, err := o.tls()
		if err != nil {
			return nil, err
		}
		return (&tls.Dialer{NetDialer: &d, Config: config}).DialContext(ctx, "tcp", o.address)
	}
	return d.DialContext(ctx, o.network, o.address)
}

func (o syslogOptions) tls() (*tls.Config, error) {
	_, skip := o.options["syslog-tls-skip-verify"]
	c := &tls.Config{InsecureSkipVerify: skip, MinVersion: tls.VersionTLS12} //nolint:gosec // the user's own choice, as in Docker
	if path := o.options["syslog-tls-ca-cert"]; path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", path)
		}
	}
	cert, key := o.options["syslog-tls-cert"], o.options["syslog-tls-key"]
	if cert == "" && key == "" {
		return c, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	c.Certificates = []tls.Certificate{pair}
	return c, err
}

func (s *syslogSink) send(m message) error {
	if len(m.text) == 0 {
		return nil // as Docker
	}
	s.buf = s.o.appendMessage(s.buf[:0], s.tag, s.hostname, m)
	err := s.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	if err == nil {
		_, err = s.conn.Write(s.buf)
	}
	if err != nil {
		return fmt.Errorf("write to the syslog server: %w", err)
	}
	return nil
}

func (s *syslogSink) close() error { return s.conn.Close() }

// appendMessage adds one message with its framing: octet counting for RFC 5424 over TLS (RFC 5425, 4.3), otherwise a newline.
func (o syslogOptions) appendMessage(b []byte, tag, hostname string, m message) []byte {
	severity := severityInfo
	if m.stderr {
		severity = severityErr
	}
	priority := o.facility<<3 | severity
	pid := os.Getpid()
	var head string
	switch o.format {
	case "":
		head = fmt.Sprintf("<%d>%s %s[%d]: ", priority, m.at.Format(time.Stamp), tag, pid)
	case "rfc3164":
		head = fmt.Sprintf("<%d>%s %s %s[%d]: ", priority, m.at.Format(time.Stamp), hostname, tag, pid)
	case "rfc5424":
		head = fmt.Sprintf("<%d>1 %s %s %s %d %s - ", priority, m.at.Format(time.RFC3339), hostname, tag, pid, tag)
	default:
		head = fmt.Sprintf("<%d>1 %s %s %s %d %s - ", priority, m.at.Format("2006-01-02T15:04:05.000000Z07:00"), hostname, tag, pid, tag)
	}
	if o.network == "tcp+tls" && strings.HasPrefix(o.format, "rfc5424") {
		b = strconv.AppendInt(b, int64(len(head)+len(m.text)), 10)
		return append(append(append(b, ' '), head...), m.text...)
	}
	return append(append(append(b, head...), m.text...), '\n')
}
