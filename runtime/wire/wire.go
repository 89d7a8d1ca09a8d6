// Package wire is what the engine and the tiny init say to each other over one
// stream socket (descriptor 3 of init):
//
//	engine                           init
//	  | -- frame Config ------------> |   set up: namespaces, mounts, user ...
//	  | <- FrameConsole + descriptor  |   only with a terminal
//	  | <- FrameHooks --------------- |   only with hooks of the engine's: run them,
//	  | -- FrameGoOn ---------------> |   the root is mounted and not entered yet
//	  | <- FrameReady --------------- |   create only: blocked before exec
//	  | -- FrameStart --------------> |   exec: sent together with the Config
//	  | <- FrameEntered + descriptor  |   exec only: the program's pid (4 bytes, little endian) and pidfd
//	  | <- end of stream ------------ |   the program runs (the socket is close-on-exec)
//	  | <- FrameError --------------- |   at any time: a step failed, init exits
//
// With Config.StartFD the start comes over another connection, from whoever
// connects to that listening socket, and what follows it goes there.
//
// A frame is one byte of kind, four of length (little endian) and the payload.
// Values are written in order without names: both ends are built together, and
// init must start in a fraction of a millisecond, without reflection.
package wire

// Kinds of frames.
const (
	FrameConfig  = 'C'
	FrameConsole = 'T'
	FrameHooks   = 'H'
	FrameGoOn    = 'G'
	FrameReady   = 'R'
	FrameStart   = 'S'
	FrameEntered = 'P'
	FrameError   = 'E'
)

// HeaderSize is the size of a frame's kind and length.
const HeaderSize = 5

// MaxFrame bounds a payload; the kernel bounds arguments plus environment to 6 MB.
const MaxFrame = 16 << 20

// Descriptors that init is started with beside its standard streams.
const (
	ControlFD = 3 // the stream socket
	PidFD     = 4 // exec only: pidfd of the container's init
)

// Header returns the frame header for a payload of n bytes.
func Header(kind byte, n int) [HeaderSize]byte {
	return [HeaderSize]byte{kind, byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}
}

// ParseHeader is the reverse of Header; ok is false for a length over MaxFrame.
func ParseHeader(h [HeaderSize]byte) (kind byte, n int, ok bool) {
	n = int(h[1]) | int(h[2])<<8 | int(h[3])<<16 | int(h[4])<<24
	return h[0], n, n <= MaxFrame
}

// Failure is the payload of FrameError.
type Failure struct {
	Step   string // what init was doing, "mount /proc"
	Errno  uint32 // 0 when no system call failed
	Detail string // words of init's own, may be empty
	Exec   bool   // executing the program failed, all steps before succeeded
}

// Marshal returns the wire form.
func (f *Failure) Marshal() []byte { return marshal(f.fields) }

// Unmarshal reads the wire form; false when it is not whole.
func (f *Failure) Unmarshal(b []byte) bool { return unmarshal(b, f.fields) }

func (f *Failure) fields(c *codec) {
	c.str(&f.Step)
	c.u32(&f.Errno)
	c.str(&f.Detail)
	c.boolean(&f.Exec)
}
