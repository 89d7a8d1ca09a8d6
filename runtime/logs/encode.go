package logs

import (
	"bytes"
	"time"
	"unicode/utf8"
)

// maxPiece is the most payload of one record, as in Docker.
const maxPiece = 16 << 10

const hexDigits = "0123456789abcdef"

// plain tells which bytes stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// recordEnd returns what follows the payload in a record; attributes is a JSON object, or empty.
func recordEnd(stream string, at time.Time, attributes []byte) []byte {
	b := append(make([]byte, 0, 80+len(attributes)), `","stream":"`...)
	b = append(b, stream...)
	if len(attributes) > 0 {
		b = append(append(b, `","attrs":`...), attributes...)
		b = append(b, `,"time":"`...)
	} else {
		b = append(b, `","time":"`...)
	}
	b = at.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, "\"}\n"...)
}

// pieceLen returns how much of data, which is not empty, makes the next record: up to a newline, but at most
// maxPiece bytes and then no torn character.
func pieceLen(data []byte) int {
	window := data[:min(len(data), maxPiece)]
	if i := bytes.IndexByte(window, '\n'); i >= 0 {
		return i + 1
	}
	if len(data) == len(window) {
		return len(data)
	}
	for n := len(window); n > len(window)-utf8.UTFMax; n-- {
		if utf8.RuneStart(data[n]) {
			return n
		}
	}
	return len(window)
}

// appendRecord adds the record of one piece.
func appendRecord(dst, piece, end []byte) []byte {
	dst = append(dst, `{"log":"`...)
	dst = appendEscaped(dst, piece)
	return append(dst, end...)
}

func appendEscaped(dst, s []byte) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, n := utf8.DecodeRune(s[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, c)
		i++
		start = i
	}
	return append(dst, s[start:]...)
}

// appendEscape adds one byte that cannot stand for itself.
func appendEscape(dst []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(dst, '\\', c)
	case c == '\n':
		return append(dst, '\\', 'n')
	case c == '\r':
		return append(dst, '\\', 'r')
	case c == '\t':
		return append(dst, '\\', 't')
	case c < 0x20:
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	default: // not UTF-8
		return append(dst, '\\', 'u', 'd', 'c', hexDigits[c>>4], hexDigits[c&15])
	}
}
