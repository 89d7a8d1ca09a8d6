package treewatch

import (
	"maps"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// compare tells what has changed between two states, of which the first may have missed everything since a time. Files that are
// there in both are judged by the time of their last change, which also renaming one sets. What was not watched before, though it
// was there, is not told.
func compare(last, next *state, since time.Time, tell found) {
	fresh := map[string]bool{} // folders of which all is new
	for _, path := range slices.Sorted(maps.Keys(next.folders)) {
		now, before := next.folders[path], last.folders[path]
		up := filepath.Dir(path)
		switch {
		case before != nil && before.id == now.id:
			compareFolder(path, before, now, since, tell)
			continue
		case before != nil, fresh[up]:
			fresh[path] = true
		case last.folders[up] != nil:
			_, was := last.folders[up].names[filepath.Base(path)]
			fresh[path] = !was
		default: // a root: it is new if it was waited for
			fresh[path] = next.folders[up] == nil && slices.Contains(last.Roots, path)
		}
		if fresh[path] {
			tell(path, before != nil)
			for name := range now.names {
				tell(filepath.Join(path, name), false)
			}
		}
	}
	tellGone(last, next, tell)
	for _, root := range next.Roots { // files
		if next.folders[root] == nil && slices.Contains(last.Roots, root) && changedSince(root, since) {
			tell(root, false)
		}
	}
}

// compareFolder tells what has changed in one folder.
func compareFolder(path string, before, now *folder, since time.Time, tell found) {
	for name := range now.names {
		_, was := before.names[name]
		if child := filepath.Join(path, name); !was || changedSince(child, since) {
			tell(child, false)
		}
	}
	for name := range before.names {
		if _, is := now.names[name]; !is {
			tell(filepath.Join(path, name), true)
		}
	}
}

// tellGone tells what was in folders that are not there any more.
func tellGone(last, next *state, tell found) {
	for path, before := range last.folders {
		if now := next.folders[path]; now != nil && now.id == before.id {
			continue
		}
		if id, there := identify(path); there && id == before.id {
			continue // it is skipped now
		}
		tell(path, true)
		for name := range before.names {
			tell(filepath.Join(path, name), true)
		}
	}
}

// changedSince tells whether a file was changed, made, renamed or given other attributes since a time.
func changedSince(path string, since time.Time) bool {
	at := changedAt(path)
	return !at.IsZero() && !at.Before(since)
}

// changedAt is the time of a file's last change; zero when there is none.
func changedAt(path string) time.Time {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return time.Time{}
	}
	return time.Unix(st.Ctim.Unix())
}
