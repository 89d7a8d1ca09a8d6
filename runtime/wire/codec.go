package wire

// codec walks over fields in one direction: it appends them to buf, or takes them
// from it. One description of a type's fields serves both.
type codec struct {
	buf    []byte
	decode bool
	bad    bool // the input ended early
}

func marshal(fields func(*codec)) []byte {
	c := &codec{buf: make([]byte, 0, 4096)}
	fields(c)
	return c.buf
}

func unmarshal(b []byte, fields func(*codec)) bool {
	c := &codec{buf: b, decode: true}
	fields(c)
	return !c.bad && len(c.buf) == 0
}

// take removes n bytes from the input; nil when there are fewer.
func (c *codec) take(n uint64) []byte {
	if c.bad || n > uint64(len(c.buf)) {
		c.bad = true
		return nil
	}
	b := c.buf[:n:n]
	c.buf = c.buf[n:]
	return b
}

func (c *codec) u64(v *uint64) {
	if !c.decode {
		x := *v
		c.buf = append(c.buf, byte(x), byte(x>>8), byte(x>>16), byte(x>>24),
			byte(x>>32), byte(x>>40), byte(x>>48), byte(x>>56))
		return
	}
	*v = 0
	for i, b := range c.take(8) {
		*v |= uint64(b) << (8 * i)
	}
}

func (c *codec) u32(v *uint32) {
	x := uint64(*v)
	c.u64(&x)
	*v = uint32(x)
}

func (c *codec) boolean(v *bool) {
	if !c.decode {
		b := byte(0)
		if *v {
			b = 1
		}
		c.buf = append(c.buf, b)
		return
	}
	b := c.take(1)
	*v = len(b) == 1 && b[0] != 0
}

func (c *codec) bytes(v *[]byte) {
	n := uint64(len(*v))
	c.u64(&n)
	if !c.decode {
		c.buf = append(c.buf, *v...)
		return
	}
	*v = c.take(n)
}

func (c *codec) str(v *string) {
	n := uint64(len(*v))
	c.u64(&n)
	if !c.decode {
		c.buf = append(c.buf, *v...)
		return
	}
	*v = string(c.take(n))
}

// list codes a slice: its length, then every element by its own fields.
func list[T any](c *codec, v *[]T, element func(*codec, *T)) {
	n := uint64(len(*v))
	c.u64(&n)
	if c.decode {
		if n > uint64(len(c.buf)) { // an element takes a byte at least
			c.bad = true
			return
		}
		*v = make([]T, n)
	}
	for i := range *v {
		element(c, &(*v)[i])
	}
}

func (c *codec) strs(v *[]string) { list(c, v, (*codec).str) }
func (c *codec) u32s(v *[]uint32) { list(c, v, (*codec).u32) }
