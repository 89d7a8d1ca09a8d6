// Package compare holds tutti against docker: the same Dockerfiles, archives, copies and questions go to both, and what comes of
// them is compared. Its tests start a dockerd of their own, so they are behind `make compare` and no part of `make test`.
package compare
