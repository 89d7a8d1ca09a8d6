package plan

import (
	"container/heap"
	"slices"
)

// builder collects operations in any order and makes a plan of them.
type builder struct {
	ops   []Op
	index map[string]int
	notes []string
}

func newBuilder() *builder { return &builder{index: map[string]int{}} }

// add puts an operation into the plan and returns its id. One that is there already,
// for the same thing, only gets the new one's After.
func (b *builder) add(op Op, after ...string) string {
	op.ID = string(op.Kind) + " " + op.Subject()
	if i, ok := b.index[op.ID]; ok {
		b.after(b.ops[i].ID, after...)
		return op.ID
	}
	b.index[op.ID] = len(b.ops)
	op.After = nil
	b.ops = append(b.ops, op)
	b.after(op.ID, after...)
	return op.ID
}

// after makes an operation wait for others. Empty ids and repetitions are ignored.
func (b *builder) after(id string, before ...string) {
	op := &b.ops[b.index[id]]
	for _, other := range before {
		if other != "" && other != id && !slices.Contains(op.After, other) {
			op.After = append(op.After, other)
		}
	}
}

func (b *builder) has(id string) bool {
	_, ok := b.index[id]
	return ok
}

func (b *builder) note(text string) {
	if !slices.Contains(b.notes, text) {
		b.notes = append(b.notes, text)
	}
}

// plan sorts the operations so that each comes after those that it waits for, and
// otherwise in the order of their addition.
func (b *builder) plan(project string) *Plan {
	next := make([][]int, len(b.ops))
	waits := make([]int, len(b.ops))
	for i, op := range b.ops {
		for _, id := range op.After {
			before := b.index[id]
			next[before] = append(next[before], i)
			waits[i]++
		}
	}
	ready := &intHeap{}
	for i, n := range waits {
		if n == 0 {
			*ready = append(*ready, i)
		}
	}
	heap.Init(ready)
	p := &Plan{Project: project, Ops: make([]Op, 0, len(b.ops)), Notes: b.notes}
	place := make(map[string]int, len(b.ops))
	for ready.Len() > 0 {
		i := heap.Pop(ready).(int)
		op := b.ops[i]
		slices.SortFunc(op.After, func(x, y string) int { return place[x] - place[y] })
		place[op.ID] = len(p.Ops)
		p.Ops = append(p.Ops, op)
		for _, n := range next[i] {
			if waits[n]--; waits[n] == 0 {
				heap.Push(ready, n)
			}
		}
	}
	return p
}

// intHeap is a heap of indices, the smallest first.
type intHeap []int

func (h intHeap) Len() int           { return len(h) }
func (h intHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h intHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *intHeap) Push(x any) { *h = append(*h, x.(int)) }

// Pop implements heap.Interface.
func (h *intHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
