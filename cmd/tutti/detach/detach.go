// Package detach finds the keys that detach from a process's terminal in what is typed.
package detach

import (
	"bytes"
	"fmt"
	"strings"
)

// Default detach from a terminal: ctrl-p, ctrl-q.
var Default = []byte{16, 17}

// Parse reads docker's --detach-keys: a comma-separated sequence of single characters, or ctrl- with a letter or one
// of @ [ \ ] ^ _ after it.
func Parse(s string) ([]byte, error) {
	var keys []byte
	for key := range strings.SplitSeq(s, ",") {
		c, ok := strings.CutPrefix(strings.ToLower(key), "ctrl-")
		switch {
		case !ok && len(key) == 1:
			keys = append(keys, key[0])
		case ok && len(c) == 1 && c[0] >= 'a' && c[0] <= 'z':
			keys = append(keys, c[0]-'a'+1)
		case ok && c == "@":
			keys = append(keys, 0)
		case ok && len(c) == 1 && strings.Contains(`[\]^_`, c):
			keys = append(keys, c[0]-'['+27)
		default:
			return nil, fmt.Errorf("invalid detach keys (%s): %q is neither a character nor ctrl- and one of a-z @ [ \\ ] ^ _", s, key)
		}
	}
	return keys, nil
}

// Detector finds the sequence of keys in what is typed. Keys that may be its beginning are held back until it is certain
// that they are not.
type Detector struct {
	keys []byte
	held []byte
}

// NewDetector returns a detector of keys; without any it finds nothing.
func NewDetector(keys []byte) *Detector { return &Detector{keys: keys} }

// Feed takes what has been typed and returns what of it, and of what was held back, is for the process, and whether the
// sequence is complete. What comes after the sequence is dropped.
func (d *Detector) Feed(typed []byte) (pass []byte, detach bool) {
	if len(d.keys) == 0 {
		return typed, false
	}
	all := append(d.held, typed...)
	if i := bytes.Index(all, d.keys); i >= 0 {
		d.held = nil
		return all[:i], true
	}
	keep := min(len(d.keys)-1, len(all))
	for !bytes.HasPrefix(d.keys, all[len(all)-keep:]) {
		keep--
	}
	d.held = bytes.Clone(all[len(all)-keep:])
	return all[:len(all)-keep], false
}
