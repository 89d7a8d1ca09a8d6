package logs

// Begin takes Finish back: the container is about to be started again, and who follows from now on waits for what
// it is going to write.
func (f *File) Begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.finished = false
}
