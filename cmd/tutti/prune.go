package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
	"github.com/spf13/cobra"

	"tutti/scheduler/api"
)

// pruneOptions are the flags of the prune commands.
type pruneOptions struct {
	all, force bool
	filters    []string
	// Sizes, for the build cache: what may always stay, what may stay at most, and what is to be free on the disk.
	keep, maxUsed, minFree string
}

// pruner removes what is unused of one kind: what docker asks before, and says after.
type pruner struct {
	kind     string                                  // as in "container prune"
	sizeless bool                                    // takes no space worth counting
	part     func(all bool) string                   // as `system prune` names it in its question
	warning  func(all bool) string                   // of its own command
	query    func(o pruneOptions) url.Values         // beside the filters
	path     string                                  // of the engine
	told     func(raw []byte) (pruneReport, error)   // reads the answer
	prepare  func(f map[string][]string, all bool)   // adds to the filters
	check    func(filters map[string][]string) error // for `system prune`
}

// pruneReport is what went: a title, a line for each, and the bytes.
type pruneReport struct {
	title string
	lines []string
	freed uint64
}

func reportOf[T any](title string, lines func(T) []string, freed func(T) uint64) func([]byte) (pruneReport, error) {
	return func(raw []byte) (pruneReport, error) {
		var v T
		if err := json.Unmarshal(raw, &v); err != nil {
			return pruneReport{}, fmt.Errorf("read the engine's answer: %w", err)
		}
		return pruneReport{title, lines(v), freed(v)}, nil
	}
}

const sure = "Are you sure you want to continue?"

func constant(text string) func(bool) string { return func(bool) string { return text } }

func either(some, all string) func(bool) string {
	return func(everything bool) string {
		if everything {
			return all
		}
		return some
	}
}

var containerPruner = pruner{
	kind: "container", path: "/containers/prune", part: constant("all stopped containers"),
	warning: constant("WARNING! This will remove all stopped containers.\n" + sure),
	told: reportOf("Deleted Containers:", func(r container.PruneReport) []string { return r.ContainersDeleted },
		func(r container.PruneReport) uint64 { return r.SpaceReclaimed }),
}

var networkPruner = pruner{
	kind: "network", path: "/networks/prune", part: constant("all networks not used by at least one container"),
	warning: constant("WARNING! This will remove all custom networks not used by at least one container.\n" + sure), sizeless: true,
	told: reportOf("Deleted Networks:", func(r network.PruneReport) []string { return r.NetworksDeleted }, func(network.PruneReport) uint64 { return 0 }),
}

var volumePruner = pruner{
	kind: "volume", path: "/volumes/prune", part: constant("all anonymous volumes not used by at least one container"),
	warning: either("WARNING! This will remove anonymous local volumes not used by at least one container.\n"+sure,
		"WARNING! This will remove all local volumes not used by at least one container.\n"+sure),
	prepare: func(f map[string][]string, all bool) {
		if all {
			f["all"] = []string{"true"}
		}
	},
	check: func(f map[string][]string) error {
		if _, ok := f["until"]; ok {
			return errors.New(`ERROR: The "until" filter is not supported with "--volumes"`)
		}
		return nil
	},
	told: reportOf("Deleted Volumes:", func(r volume.PruneReport) []string { return r.VolumesDeleted },
		func(r volume.PruneReport) uint64 { return r.SpaceReclaimed }),
}

var imagePruner = pruner{
	kind: "image", path: "/images/prune", part: either("all dangling images", "all images without at least one container associated to them"),
	warning: either("WARNING! This will remove all dangling images.\n"+sure,
		"WARNING! This will remove all images without at least one container associated to them.\n"+sure),
	prepare: func(f map[string][]string, all bool) { f["dangling"] = []string{fmt.Sprint(!all)} },
	told: reportOf("Deleted Images:", func(r image.PruneReport) (lines []string) {
		for _, d := range r.ImagesDeleted {
			if d.Untagged != "" {
				lines = append(lines, "untagged: "+d.Untagged)
			} else {
				lines = append(lines, "deleted: "+d.Deleted)
			}
		}
		return lines
	}, func(r image.PruneReport) uint64 { return r.SpaceReclaimed }),
}

var buildCachePruner = pruner{
	kind: "builder", path: "/build/prune", part: either("unused build cache", "all build cache"),
	warning: either("WARNING! This will remove all dangling build cache. "+sure, "WARNING! This will remove all build cache. "+sure),
	query: func(o pruneOptions) url.Values {
		q := url.Values{}
		if o.all {
			q.Set("all", "1")
		}
		for name, size := range map[string]string{"keep-storage": o.keep, "reserved-space": o.keep, "max-used-space": o.maxUsed, "min-free-space": o.minFree} {
			if size != "" {
				q.Set(name, size)
			}
		}
		return q
	},
	told: reportOf("Deleted build cache objects:", func(r build.CachePruneReport) []string { return r.CachesDeleted },
		func(r build.CachePruneReport) uint64 { return r.SpaceReclaimed }),
}

// run asks the engine to remove.
func (p pruner) run(ctx context.Context, c *api.Client, o pruneOptions, filters map[string][]string) (pruneReport, error) {
	own := map[string][]string{}
	maps.Copy(own, filters)
	if p.prepare != nil {
		p.prepare(own, o.all)
	}
	text, err := json.Marshal(own)
	if err != nil {
		return pruneReport{}, err
	}
	q := url.Values{}
	if p.query != nil {
		q = p.query(o)
	}
	q.Set("filters", string(text))
	var raw json.RawMessage
	if err := c.Call(ctx, http.MethodPost, p.path+"?"+q.Encode(), nil, &raw); err != nil {
		return pruneReport{}, err
	}
	return p.told(raw)
}

// print shows what went, and an empty line if anything did.
func (r pruneReport) print(a *app) {
	if len(r.lines) == 0 {
		return
	}
	fmt.Fprintln(a.out, r.title)
	for _, l := range r.lines {
		fmt.Fprintln(a.out, l)
	}
	fmt.Fprintln(a.out)
}

// readSizes makes the sizes numbers of bytes.
func (o *pruneOptions) readSizes() error {
	for name, size := range map[string]*string{"reserved-space": &o.keep, "max-used-space": &o.maxUsed, "min-free-space": &o.minFree} {
		if *size == "" {
			continue
		}
		bytes, err := units.RAMInBytes(*size)
		if err != nil {
			return fmt.Errorf("invalid argument %q for \"--%s\" flag: %w", *size, name, err)
		}
		*size = fmt.Sprint(bytes)
	}
	return nil
}

// pruneCommand is a prune command of one kind. flags adds those that not all have.
func (a *app) pruneCommand(p pruner, short string, flags func(*cobra.Command, *pruneOptions)) *cobra.Command {
	var o pruneOptions
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: short,
		Args:  noArgs,
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			filters, err := pruneFilters(o.filters)
			if err != nil {
				return err
			}
			if err := o.readSizes(); err != nil {
				return err
			}
			if _, ok := filters["all"]; ok && o.all && p.kind == "volume" {
				return errors.New("conflicting options: cannot specify both --all and --filter all=1")
			}
			if !o.force && !a.sure(p.warning(o.all)) {
				return nil
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			report, err := p.run(ctx, c, o, filters)
			if err != nil {
				return err
			}
			report.print(a)
			if !p.sizeless {
				fmt.Fprintln(a.out, "Total reclaimed space:", units.HumanSize(float64(report.freed)))
			}
			return nil
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&o.force, "force", "f", false, "Do not prompt for confirmation")
	f.StringArrayVar(&o.filters, "filter", nil, `Provide filter values (e.g. "until=<timestamp>")`)
	if flags != nil {
		flags(cmd, &o)
	}
	return cmd
}

// sure asks as docker does: only "y" is a yes.
func (a *app) sure(question string) bool {
	fmt.Fprint(a.out, question+" [y/N] ")
	line, _ := bufio.NewReader(a.in).ReadString('\n') // the end of the input is a no
	return strings.EqualFold(strings.TrimSpace(line), "y")
}

// pruneFilters reads --filter of the prune commands: NAME=VALUE, or NAME!=VALUE for what must not be.
func pruneFilters(flags []string) (map[string][]string, error) {
	filters := map[string][]string{}
	for _, text := range flags {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("invalid argument %q for \"--filter\" flag: give NAME=VALUE", text)
		}
		filters[name] = append(filters[name], value)
	}
	return filters, nil
}

func (a *app) systemPruneCommand() *cobra.Command {
	var o pruneOptions
	var volumes bool
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove unused data",
		Args:  noArgs,
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			filters, err := pruneFilters(o.filters)
			if err != nil {
				return err
			}
			pruners := []pruner{containerPruner, networkPruner, imagePruner, buildCachePruner}
			if volumes {
				pruners = slices.Insert(pruners, 2, volumePruner)
			}
			for _, p := range pruners {
				if p.check == nil {
					continue
				}
				if err := p.check(filters); err != nil {
					return err
				}
			}
			if !o.force && !a.sure(systemWarning(pruners, o.all, filters)) {
				return nil
			}
			return a.pruneAll(ctx, pruners, o, filters)
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "Remove all unused images not just dangling ones")
	f.BoolVarP(&o.force, "force", "f", false, "Do not prompt for confirmation")
	f.BoolVar(&volumes, "volumes", false, "Prune anonymous volumes")
	f.StringArrayVar(&o.filters, "filter", nil, `Provide filter values (e.g. "label=<key>=<value>")`)
	return cmd
}

// pruneAll removes one kind after the other: what a container needed is free after it.
func (a *app) pruneAll(ctx context.Context, pruners []pruner, o pruneOptions, filters map[string][]string) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	var freed uint64
	for _, p := range pruners {
		own := o
		own.all = o.all && p.kind != "volume" // --all is about images and the cache
		report, err := p.run(ctx, c, own, filters)
		if err != nil {
			return err
		}
		report.print(a)
		freed += report.freed
	}
	fmt.Fprintln(a.out, "Total reclaimed space:", units.HumanSize(float64(freed)))
	return nil
}

// systemWarning is docker's question before a system prune.
func systemWarning(pruners []pruner, all bool, filters map[string][]string) string {
	var b strings.Builder
	b.WriteString("WARNING! This will remove:")
	for _, p := range pruners {
		b.WriteString("\n  - " + p.part(all))
	}
	b.WriteString("\n")
	var shown []string
	for _, name := range []string{"label", "label!", "until"} {
		for _, v := range filters[name] {
			shown = append(shown, name+"="+v)
		}
	}
	if len(shown) > 0 {
		slices.Sort(shown)
		b.WriteString("\n  Items to be pruned will be filtered with:\n  - " + strings.Join(shown, "\n  - ") + "\n")
	}
	b.WriteString("\n" + sure)
	return b.String()
}
