package logs

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// record is one line of a log file.
type record struct {
	stream string
	at     time.Time
	piece  []byte // in the buffer given to parse
}

// ends tells whether nothing that follows belongs to the same line.
func (r *record) ends() bool { return len(r.piece) == 0 || r.piece[len(r.piece)-1] == '\n' }

var (
	beforePiece  = []byte(`{"log":"`)
	beforeStream = []byte(`"stream":"`)
	beforeTime   = []byte(`"time":"`)

	beforeAttributes = []byte(`"attrs":{`)
)

// parse reads a record; its payload is appended to buf. Records that are not in this package's exact form, which
// Docker may have written, go through encoding/json. What is no record at all is reported as !ok.
func parse(line, buf []byte) (r record, out []byte, ok bool) {
	rest, ok := bytes.CutPrefix(line, beforePiece)
	if ok {
		start := len(buf)
		if out, rest, ok = unescape(buf, rest); ok {
			r.piece = out[start:]
			if r.stream, r.at, ok = parseEnd(rest); ok {
				return r, out, true
			}
		}
	}
	var foreign struct {
		Log, Stream string
		Time        time.Time
	}
	if json.Unmarshal(line, &foreign) != nil {
		return record{}, buf, false
	}
	out = append(buf, foreign.Log...)
	return record{stream: foreign.Stream, at: foreign.Time, piece: out[len(buf):]}, out, true
}

// parseEnd reads what follows the payload's closing quote.
func parseEnd(b []byte) (stream string, at time.Time, ok bool) {
	b, ok = bytes.CutPrefix(b, []byte{','})
	if !ok {
		return "", at, false
	}
	name, b, ok := cutString(b, beforeStream)
	if !ok {
		return "", at, false
	}
	if b, ok = bytes.CutPrefix(b, []byte{','}); !ok {
		return "", at, false
	}
	if bytes.HasPrefix(b, beforeAttributes) { // of no interest; quotes within them are escaped
		if i := bytes.LastIndex(b, beforeTime); i > 0 {
			b = b[i:]
		}
	}
	stamp, b, ok := cutString(b, beforeTime)
	if !ok || len(b) == 0 || b[0] != '}' {
		return "", at, false
	}
	if at.UnmarshalText(stamp) != nil {
		return "", at, false
	}
	switch string(name) { // without an allocation for the usual ones
	case Stdout:
		return Stdout, at, true
	case Stderr:
		return Stderr, at, true
	}
	return string(name), at, true
}

// cutString cuts key and the string that follows it, which must need no unescaping.
func cutString(b, key []byte) (value, rest []byte, ok bool) {
	if b, ok = bytes.CutPrefix(b, key); !ok {
		return nil, nil, false
	}
	value, rest, ok = bytes.Cut(b, []byte{'"'})
	return value, rest, ok && bytes.IndexByte(value, '\\') < 0
}

// unescape appends the JSON string that b continues to dst; rest follows the closing quote.
func unescape(dst, b []byte) (out, rest []byte, ok bool) {
	for {
		i := 0
		for i < len(b) && b[i] != '"' && b[i] != '\\' {
			i++
		}
		dst = append(dst, b[:i]...)
		if i == len(b) {
			return dst, nil, false
		}
		if b[i] == '"' {
			return dst, b[i+1:], true
		}
		if dst, b, ok = unescapeOne(dst, b[i+1:]); !ok {
			return dst, nil, false
		}
	}
}

// unescapeOne appends what the escape sequence after a backslash stands for.
func unescapeOne(dst, b []byte) (out, rest []byte, ok bool) {
	if len(b) == 0 {
		return dst, nil, false
	}
	switch c := b[0]; c {
	case '"', '\\', '/':
		return append(dst, c), b[1:], true
	case 'n':
		return append(dst, '\n'), b[1:], true
	case 'r':
		return append(dst, '\r'), b[1:], true
	case 't':
		return append(dst, '\t'), b[1:], true
	case 'b':
		return append(dst, '\b'), b[1:], true
	case 'f':
		return append(dst, '\f'), b[1:], true
	case 'u':
		return unescapeUnit(dst, b[1:])
	}
	return dst, nil, false
}

// unescapeUnit appends the character of a \u escape, or the byte that a lone low surrogate of the second half
// hides.
func unescapeUnit(dst, b []byte) (out, rest []byte, ok bool) {
	r, ok := hex4(b)
	if !ok {
		return dst, nil, false
	}
	b = b[4:]
	if utf16.IsSurrogate(r) {
		if len(b) >= 6 && b[0] == '\\' && b[1] == 'u' {
			low, _ := hex4(b[2:])
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return utf8.AppendRune(dst, pair), b[6:], true
			}
		}
		if r >= 0xdc80 && r <= 0xdcff {
			return append(dst, byte(r)), b, true
		}
	}
	return utf8.AppendRune(dst, r), b, true
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// soundEnd returns where the last complete line of the first size bytes ends, and the time of the last record.
func soundEnd(f *os.File, size int64) (end int64, last time.Time, err error) {
	buf := make([]byte, min(size, maxRecord))
	start := size - int64(len(buf))
	if _, err := f.ReadAt(buf, start); err != nil && err != io.EOF {
		return 0, last, err
	}
	n := bytes.LastIndexByte(buf, '\n') + 1
	if n == 0 {
		return start, last, nil
	}
	line := buf[bytes.LastIndexByte(buf[:n-1], '\n')+1 : n-1]
	if r, _, ok := parse(line, nil); ok {
		last = r.at
	}
	return start + int64(n), last, nil
}
