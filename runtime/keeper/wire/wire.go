// Package wire is the language between the engine and its keeper: the messages on the SOCK_SEQPACKET
// socketpair that joins them, and the byte form of each. One packet is one message; file descriptors
// travel beside it as SCM_RIGHTS in the order of Names (unix(7)).
//
// The package is part of the tiny keeper program, so it imports next to nothing.
package wire

import (
	"encoding/binary"
	"errors"
)

// EnvFD names the environment variable in which the keeper tells the engine the number of its end of the
// socketpair.
const EnvFD = "TUTTI_KEEPER_FD"

// EnvVersion names the environment variable in which the keeper tells the engine which Version it speaks. Keepers of
// before there were versions do not set it.
const EnvVersion = "TUTTI_KEEPER_VERSION"

// Version counts the changes of this language. An engine works under a keeper of another version as long as that is
// not older than Oldest: it then does not send what that keeper does not know.
const (
	Version = 2 // 2 added OpAdopt, OpProgram and State Unseen
	Oldest  = 1
)

// ControlSocket is the name, inside the run folder, of the socket on which the keeper answers starters.
const ControlSocket = "keeper.sock"

// The keeper's answer on the control socket is one of these bytes; an error's text follows Failed.
const (
	Ready  byte = '+'
	Failed byte = '-'
)

// Limits of one packet. The kernel passes at most 253 descriptors at a time (SCM_MAX_FD, unix(7)).
const (
	MaxFiles   = 200
	MaxName    = 255
	MaxText    = 8 << 10
	MaxMessage = headerSize + MaxName + MaxText + MaxFiles*(MaxName+1)
)

// Op says what a message asks or tells.
type Op byte

// From the engine to the keeper. Take and List are answered; the others only if they fail: once such a message
// is in the socket's buffer the keeper is going to see it, also when the engine dies at once.
const (
	OpHold     Op = iota + 1 // keep the files that travel with it under ID; More: further parts follow, all take effect with the last
	OpTake                   // send duplicates of the files held under ID
	OpRegister               // child PID is ID's process; Token comes back with its exit
	OpRelease                // forget ID: close its files, drop its exit
	OpList                   // tell everything that is kept
	OpReady                  // the engine serves (empty Text), or could not start and why
	OpStopping               // the engine is about to exit with status 0: starters shall wait for the next keeper
	OpAdopt                  // PID, of which a pidfd travels with it, is ID's process though it is no child; State Exited: it ended as Code, Signal and At say
	OpProgram                // Text is the absolute path of the program to start the next engine from; a file that travels with it serves if there is none
)

// From the keeper to the engine.
const (
	OpReply Op = iota + 64 // answer to Seq; More: another part follows; Text: an error
	OpEntry                // part of the answer to OpList: one ID
	OpExit                 // ID's process ended
)

// State bits of an OpEntry.
const (
	Registered byte = 1 << iota
	Exited
	Unseen // also of OpExit: the process has ended, but nobody could see how
)

// Message is the only record on the wire; fields that an Op does not mention are zero.
type Message struct {
	Op     Op
	More   bool
	State  byte
	Signal byte   // signal that ended the process, 0 for an ordinary exit
	Code   byte   // exit status 0-255; 128+n for signal n
	PID    int32  // as the keeper's pid namespace has it
	Seq    uint64 // pairs replies with requests
	Token  uint64 // chosen by the engine per registration, never used twice
	At     int64  // when the process was reaped, nanoseconds since 1970
	ID     string
	Text   string
	Names  []string
}

// ErrMalformed says that a packet is not a Message.
var ErrMalformed = errors.New("malformed keeper message")

// The header: op, flags, state, signal, code, 3 bytes unused, pid, seq, token, at, then the lengths of ID (1),
// of Text (2) and the number of names (1). Little endian.
const headerSize = 8 + 4 + 8 + 8 + 8 + 4

// Append adds m's byte form to b. Over-long parts are the caller's mistake and are cut to the limits.
func (m *Message) Append(b []byte) []byte {
	id, text, names := cut(m.ID, MaxName), cut(m.Text, MaxText), m.Names
	if len(names) > MaxFiles {
		names = names[:MaxFiles]
	}
	var more byte
	if m.More {
		more = 1
	}
	b = append(b, byte(m.Op), more, m.State, m.Signal, m.Code, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(m.PID))
	b = binary.LittleEndian.AppendUint64(b, m.Seq)
	b = binary.LittleEndian.AppendUint64(b, m.Token)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.At))
	b = append(b, byte(len(id)), byte(len(text)), byte(len(text)>>8), byte(len(names)))
	b = append(b, id...)
	b = append(b, text...)
	for _, n := range names {
		n = cut(n, MaxName)
		b = append(b, byte(len(n)))
		b = append(b, n...)
	}
	return b
}

// Parse reads one packet.
func Parse(b []byte) (Message, error) {
	if len(b) < headerSize {
		return Message{}, ErrMalformed
	}
	m := Message{
		Op: Op(b[0]), More: b[1] != 0, State: b[2], Signal: b[3], Code: b[4],
		PID:   int32(binary.LittleEndian.Uint32(b[8:])),
		Seq:   binary.LittleEndian.Uint64(b[12:]),
		Token: binary.LittleEndian.Uint64(b[20:]),
		At:    int64(binary.LittleEndian.Uint64(b[28:])),
	}
	idLen, textLen, count := int(b[36]), int(b[37])|int(b[38])<<8, int(b[39])
	b = b[headerSize:]
	if len(b) < idLen+textLen || textLen > MaxText || count > MaxFiles {
		return Message{}, ErrMalformed
	}
	m.ID, m.Text, b = string(b[:idLen]), string(b[idLen:idLen+textLen]), b[idLen+textLen:]
	for range count {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return Message{}, ErrMalformed
		}
		m.Names = append(m.Names, string(b[1:1+int(b[0])]))
		b = b[1+int(b[0]):]
	}
	if len(b) != 0 {
		return Message{}, ErrMalformed
	}
	return m, nil
}

func cut(s string, limit int) string {
	if len(s) > limit {
		return s[:limit]
	}
	return s
}
