package treewatch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// state is what is known while one selection is watched.
type state struct {
	Selection
	notify   *fsnotify.Watcher
	folders  map[string]*folder // that are watched with all that is in them
	stations map[string]bool    // folders that are watched because a root may appear there
	present  map[string]bool    // roots that are there
	fault    error

	lost chan struct{} // something was not told
	pump sync.WaitGroup
}

// folder is one of a tree: which one, and what is in it.
type folder struct {
	id    identity
	names map[string]struct{}
}

// identity tells a file from every other that there is at the same time.
type identity struct{ device, inode uint64 }

// found is told of changes.
type found func(path string, gone bool)

func nothing(string, bool) {}

func newState(s Selection) (*state, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, explain(err, nil)
	}
	st := &state{Selection: s, notify: notify, folders: map[string]*folder{}, stations: map[string]bool{}, present: map[string]bool{}, lost: make(chan struct{}, 1)}
	st.pump.Go(st.readErrors)
	for _, root := range s.Roots {
		st.ensure(root, nothing)
	}
	if st.fault != nil {
		return nil, errors.Join(st.takeFault(), st.close())
	}
	return st, nil
}

func (s *state) close() error {
	err := s.notify.Close()
	s.pump.Wait()
	return err
}

// readErrors takes what fsnotify complains about at once: it does so while it holds the lock that Add and Remove need.
func (s *state) readErrors() {
	for err := range s.notify.Errors {
		if errors.Is(err, unix.EINVAL) {
			continue // of a folder that was moved and removed at once
		}
		select {
		case s.lost <- struct{}{}:
		default:
		}
	}
}

// takeFault is what watching a folder failed with.
func (s *state) takeFault() error {
	err := s.fault
	s.fault = nil
	return explain(err, s)
}

// covers tells whether a path is a root or in one.
func (s *state) covers(path string) bool {
	return slices.ContainsFunc(s.Roots, func(root string) bool { return inside(root, path) })
}

// add watches a folder and says whether that could be done. What has vanished, or may not be read, is left out.
func (s *state) add(path string) bool {
	err := s.notify.Add(path)
	switch {
	case err == nil:
		return true
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EACCES), errors.Is(err, unix.ELOOP):
		return false
	case s.fault == nil:
		s.fault = &fs.PathError{Op: "watch", Path: path, Err: err}
	}
	return false
}

// ensure watches a root, or where it will appear.
func (s *state) ensure(root string, tell found) {
	for at := root; ; {
		info, err := os.Lstat(at)
		if err == nil && at != root {
			info, err = os.Stat(at) // the way to a root may lead over links
		}
		switch {
		case err == nil && at == root:
			if !s.present[root] {
				tell(root, false)
			}
			s.present[root] = true
			if info.IsDir() {
				s.addTree(root, tell)
				return
			}
			at = filepath.Dir(root)
		case err == nil && info.IsDir() && s.watchStation(at):
			// It may have appeared in the last moment.
			next := at
			if at == filepath.Dir(root) {
				next = root
			} else if rel, err := filepath.Rel(at, root); err == nil {
				next = filepath.Join(at, firstPart(rel))
			}
			if info, err := os.Lstat(next); err != nil || next == root && !info.IsDir() {
				return
			}
			at = next
		case at == "/" || s.fault != nil:
			return
		default:
			at = filepath.Dir(at)
		}
	}
}

func firstPart(rel string) string {
	for i := range rel {
		if rel[i] == filepath.Separator {
			return rel[:i]
		}
	}
	return rel
}

// watchStation watches a folder for what appears in it.
func (s *state) watchStation(path string) bool {
	if s.folders[path] != nil || s.stations[path] {
		return true
	}
	s.stations[path] = s.add(path)
	if !s.stations[path] {
		delete(s.stations, path)
		return false
	}
	return true
}

// addTree watches a folder and those in it. What is in them is told. Each is watched before it is read: what comes between is
// told twice, not never.
func (s *state) addTree(top string, tell found) {
	for queue := []string{top}; len(queue) > 0; {
		path := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		id, ok := identify(path)
		if known := s.folders[path]; !ok || known != nil && known.id == id {
			continue
		}
		s.forget(path, nothing)
		if !s.add(path) {
			continue
		}
		f := &folder{id: id, names: map[string]struct{}{}}
		s.folders[path] = f
		for _, e := range list(path) {
			f.names[e.Name()] = struct{}{}
			child := filepath.Join(path, e.Name())
			tell(child, false)
			if e.IsDir() && !s.Skips(child) {
				queue = append(queue, child)
			}
		}
	}
}

// identify tells which folder is at a path.
func identify(path string) (identity, bool) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return identity{}, false
	}
	return identity{st.Dev, st.Ino}, true
}

// list reads a folder, but not one that a link leads to.
func list(path string) []fs.DirEntry {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil // it has gone, or may not be read
	}
	defer f.Close()
	entries, _ := f.ReadDir(-1) // what could be read
	return entries
}

// forget drops a folder that is not there any more, or not the same, and tells what was in it.
func (s *state) forget(path string, tell found) {
	f := s.folders[path]
	if f == nil {
		return
	}
	delete(s.folders, path)
	_ = s.notify.Remove(path) // the kernel has done it already if the folder was removed
	for name := range f.names {
		child := filepath.Join(path, name)
		tell(child, true)
		s.forget(child, tell)
	}
}

// handle takes one event.
func (s *state) handle(e fsnotify.Event, tell found) {
	if e.Name == "" {
		return // of a folder that has been forgotten
	}
	path := filepath.Clean(e.Name)
	parent, name := s.folders[filepath.Dir(path)], filepath.Base(path)
	if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
		s.forget(path, tell)
		delete(s.stations, path)
		if parent != nil {
			delete(parent.names, name)
		}
		tell(path, true)
	} else {
		if parent != nil {
			parent.names[name] = struct{}{}
		}
		s.appeared(path, e.Has(fsnotify.Create), tell)
	}
	for _, root := range s.Roots {
		if !inside(path, root) || path == root && s.folders[root] != nil {
			continue
		}
		if _, err := os.Lstat(root); err != nil && s.present[root] {
			s.present[root] = false
			tell(root, true)
		}
		s.ensure(root, tell)
	}
}

// appeared takes a change of something that is there, or was a moment ago.
func (s *state) appeared(path string, created bool, tell found) {
	if slices.Contains(s.Roots, path) && s.folders[path] != nil {
		return // the times of a root change whenever something in it does
	}
	tell(path, false)
	if _, isFolder := identify(path); created && isFolder && s.covers(path) && !s.Skips(path) {
		s.addTree(path, tell)
	}
}

// Walk lists what is in a folder and in those below it that are not skipped, without the folders; or the path itself, if a file is
// there.
func Walk(top string, skips func(folder string) bool) []string {
	if _, isFolder := identify(top); !isFolder {
		if _, err := os.Lstat(top); err != nil {
			return nil
		}
		return []string{top}
	}
	var paths []string
	for queue := []string{top}; len(queue) > 0; {
		path := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, e := range list(path) {
			child := filepath.Join(path, e.Name())
			switch {
			case !e.IsDir():
				paths = append(paths, child)
			case !skips(child):
				queue = append(queue, child)
			}
		}
	}
	return paths
}
