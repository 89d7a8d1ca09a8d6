package logs

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"sync"
)

// mergeAhead is how many entries of each log are read ahead.
const mergeAhead = 64

// Source is one log of a Merge.
type Source struct {
	Log     *File
	Options ReadOptions
}

// Merge gives out the entries of several logs in the order of their times; i is the index of the entry's source.
// With Follow, entries that come later are given out as they come, for nobody can know what is still on its way.
func Merge(ctx context.Context, sources []Source, emit func(i int, e Entry) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	m := &merger{inputs: make([]input, len(sources)), emit: emit}
	for i, s := range sources {
		ch := make(chan mergeItem, mergeAhead)
		m.inputs[i].ch = ch
		wg.Go(func() { feed(ctx, s, ch) })
	}
	return m.run(ctx)
}

// mergeItem is an entry, or the news that all there is has been read (idle), or the end of a log (end, err).
type mergeItem struct {
	entry Entry
	idle  bool
	end   bool
	err   error
}

// feed reads one log into ch.
func feed(ctx context.Context, s Source, ch chan<- mergeItem) {
	send := func(it mergeItem) error {
		select {
		case ch <- it:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	o := s.Options
	o.CaughtUp = func() error { return send(mergeItem{idle: true}) }
	err := s.Log.Read(ctx, o, func(e Entry) error {
		e.Line = bytes.Clone(e.Line)
		return send(mergeItem{entry: e})
	})
	_ = send(mergeItem{end: true, err: err}) // nobody listens once ctx is done
}

// input is what the merger knows of a source.
type input struct {
	ch   <-chan mergeItem
	head *Entry // the next entry, if it has come
	idle bool   // it has nothing at the moment: do not wait for it
	end  bool
}

func (in *input) take(it mergeItem) error {
	in.idle, in.end = it.idle, it.end
	if !it.idle && !it.end {
		in.head = &it.entry
	}
	return it.err
}

type merger struct {
	inputs []input
	emit   func(int, Entry) error
}

func (m *merger) run(ctx context.Context) error {
	for {
		if err := m.fill(ctx); err != nil {
			return err
		}
		first := m.first()
		if first < 0 {
			if more, err := m.waitIdle(ctx); err != nil || !more {
				return err
			}
			continue
		}
		e := *m.inputs[first].head
		m.inputs[first].head = nil
		if err := m.emit(first, e); err != nil {
			return err
		}
	}
}

// fill gets the head of every source that has one.
func (m *merger) fill(ctx context.Context) error {
	for i := range m.inputs {
		in := &m.inputs[i]
		for in.head == nil && !in.end {
			it, ok, err := in.receive(ctx)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if err := in.take(it); err != nil {
				return err
			}
		}
	}
	return nil
}

// receive waits for the next item; of an idle source it takes only what is there.
func (in *input) receive(ctx context.Context) (it mergeItem, ok bool, err error) {
	if in.idle {
		select {
		case it = <-in.ch:
			return it, true, nil
		default:
			return it, false, nil
		}
	}
	select {
	case it = <-in.ch:
		return it, true, nil
	case <-ctx.Done():
		return it, false, ctx.Err()
	}
}

// first returns the source with the earliest head, -1 if there is no head.
func (m *merger) first() int {
	first := -1
	for i := range m.inputs {
		if h := m.inputs[i].head; h != nil && (first < 0 || h.Time.Before(m.inputs[first].head.Time)) {
			first = i
		}
	}
	return first
}

// waitIdle waits for any of the sources, all of which are idle or at their end; more is false when all are at
// their end.
func (m *merger) waitIdle(ctx context.Context) (more bool, err error) {
	cases := []reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())}}
	var which []*input
	for i := range m.inputs {
		if in := &m.inputs[i]; !in.end {
			cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(in.ch)})
			which = append(which, in)
		}
	}
	if len(which) == 0 {
		return false, nil
	}
	chosen, value, _ := reflect.Select(cases)
	if chosen == 0 {
		return false, ctx.Err()
	}
	it, ok := reflect.TypeAssert[mergeItem](value)
	if !ok {
		return false, errors.New("merge logs: unexpected item")
	}
	return true, which[chosen-1].take(it)
}
