package image

import "context"

// labelParent on a record: the ID of the image that this one was made from by a commit. Builds, pulls and archives know no
// parents, as with docker.
const labelParent = "tutti/parent"

// Parent is the ID of the image that a commit has made this one from; empty for others.
func (i Image) Parent() string { return i.labels[labelParent] }

// removeParents removes what an image was made from that is gone, and what that was made from: as far as they have no name,
// no container and no other image that was made from them.
func (s *Store) removeParents(ctx context.Context, child *Image, o RemoveOptions) (gone []Removal, err error) {
	for {
		l, err := s.listing(ctx)
		if err != nil {
			return gone, err
		}
		parent := l.byID[child.Parent()]
		if parent == nil || len(parent.Names) > 0 || l.isParent(parent.ID) {
			return gone, nil
		}
		r := removal{image: parent, names: l.recordsOf(parent), deleted: true}
		if o.Spare && s.work.needs(r.names) {
			return gone, nil
		}
		if o.InUse != nil {
			if _, used := o.InUse(parent.ID); used {
				return gone, nil
			}
		}
		list, err := s.remove(ctx, r)
		if err != nil {
			return gone, err
		}
		gone, child = append(gone, list...), parent
	}
}

// isParent tells whether another image was made from one.
func (l *listing) isParent(id string) bool {
	for _, image := range l.images {
		if image.Parent() == id {
			return true
		}
	}
	return false
}
