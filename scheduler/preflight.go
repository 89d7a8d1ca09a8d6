package scheduler

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"tutti/netdriver"
	"tutti/scheduler/container"
	"tutti/scheduler/engine"
	"tutti/scheduler/imagebuild"
	"tutti/scheduler/netcheck"
	"tutti/scheduler/plan"
)

// preflight finds, before anything is made, what would fail later: a service that cannot be translated, a network that
// cannot be made, a port of the host that somebody has. A project that cannot come up leaves no half of it behind. It returns
// the plan in the order in which ports and addresses pass from one container to another.
func (r *run) preflight(p *plan.Plan) (*plan.Plan, error) {
	freed := map[string]bool{} // containers that the plan stops
	for _, op := range p.Ops {
		if op.Kind == plan.StopContainer || op.Kind == plan.RemoveContainer {
			freed[op.ContainerID] = true
		}
	}
	book, err := r.checkNetworks(p, freed)
	if err != nil {
		r.chronicle.fail("", err.Error())
		return nil, err
	}
	wanted := hostPorts{claims: map[string][]portClaim{}, freed: freed, owners: map[string][]string{}}
	for _, op := range p.Ops {
		if err := r.check(op, book, wanted); err != nil {
			r.chronicle.fail(op.Service, err.Error())
			return nil, err
		}
	}
	if len(wanted.owners) > 0 {
		p = p.Pass(wanted.owners)
	}
	return p, nil
}

// check is preflight for one operation.
func (r *run) check(op plan.Op, book *netcheck.Book, wanted hostPorts) error {
	switch op.Kind {
	case plan.BuildImage:
		return r.checkBuild(op.Service, imagebuild.Flags{})
	case plan.CreateContainer:
		c, err := r.outline(op.Service)
		if err != nil {
			return r.at(err, op.Service)
		}
		if _, _, err := r.s.Fit(c); err != nil {
			return r.at(err, op.Service)
		}
		if err := r.checkPeers(&c); err != nil {
			return r.at(err, op.Service)
		}
		if _, err := engine.ParseSignal(c.StopSignal); err != nil {
			return r.at(container.At(err, "stop_signal"), op.Service)
		}
		if err := c.Check(); err != nil {
			return r.at(err, op.Service)
		}
		if err := r.joins(book, op, &c, wanted); err != nil {
			return err
		}
		if err := book.HostGateway(&c); err != nil {
			return r.at(err, op.Service)
		}
		return r.at(r.checkPorts(book, op.Container, &c, wanted), op.Service, "ports")
	case plan.StartContainer:
		if op.ContainerID == "" {
			return nil // made by this plan, checked above; another of its name goes before
		}
		u, err := r.unit(op)
		if err != nil {
			return nil //nolint:nilerr // gone meanwhile, which the start will say
		}
		if err := r.joins(book, op, &u.Config, wanted); err != nil {
			return err
		}
		return r.at(r.checkPorts(book, op.Container, u.Now(), wanted), op.Service, "ports")
	case plan.PullImage, plan.RemoveImage, plan.CreateNetwork, plan.RemoveNetwork, plan.CreateVolume, plan.RemoveVolume,
		plan.StopContainer, plan.RemoveContainer, plan.PreStart, plan.AwaitCondition, plan.AwaitHealthy:
	}
	return nil
}

// outline is the configuration of a service's containers without what their image adds.
func (r *run) outline(service string) (container.Config, error) {
	return container.FromService(r.project, r.project.Services[service], container.Image{Entrypoint: []string{"of the image"}})
}

// at says in which file and line the service is, or the key of it that an error is about.
func (r *run) at(err error, service string, key ...string) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*container.Fault](err); ok {
		key = f.Key
	}
	file, line := r.project.Position(append([]string{"services", service}, key...)...)
	if line == 0 {
		return fmt.Errorf("service %q: %w", service, err)
	}
	return fmt.Errorf("%s:%d: service %q: %w", file, line, service, err)
}

// checkPorts says who has a port that a container wants. One that a container has which this plan stops is free by then.
func (r *run) checkPorts(book *netcheck.Book, name string, c *container.Config, wanted hostPorts) error {
	specs, err := engine.PortSpecs(c.Ports)
	if err != nil {
		return err
	}
	for _, s := range book.HostPorts(c, specs) {
		if other := wanted.claim(s, name); other != "" {
			return fmt.Errorf("port %d/%s of the host is wanted by container %s, too: choose another port for one of them", s.HostPort, s.Proto, other)
		}
		err := r.s.NetDriver.CheckPort(s)
		if err == nil {
			continue
		}
		owner := r.s.PortOwner(s.HostPort, s.Proto)
		if owner == nil {
			return err
		}
		if !wanted.freed[owner.ID] {
			return fmt.Errorf("port %d/%s of the host is taken by %s: stop that one or choose another port", s.HostPort, s.Proto, describeOwner(&owner.Config))
		}
		if owner.Name() != name {
			wanted.own(name, owner.ID)
		}
	}
	return nil
}

// describeOwner names a container that has a port by what its user knows.
func describeOwner(c *container.Config) string {
	if c.Service == "" {
		return "container " + c.Name
	}
	return fmt.Sprintf("service %q of project %q (container %s)", c.Service, c.Project, c.Name)
}

// hostPorts are the fixed ports of the host that a plan's containers want.
type hostPorts struct {
	claims map[string][]portClaim
	freed  map[string]bool     // ids of containers that the plan ends
	owners map[string][]string // by the names of containers that want their ports or addresses: the ids of those
}

type portClaim struct {
	addr      netip.Addr // zero: all
	container string
}

// own notes who has until its end what the container of a name wants.
func (h hostPorts) own(name string, owners ...string) {
	if len(owners) > 0 {
		h.owners[name] = append(h.owners[name], owners...)
	}
}

// claim returns the container that wants the port on one of the same addresses already, or enters this one.
func (h hostPorts) claim(s netdriver.PortSpec, container string) string {
	if s.HostPort == 0 || s.HostPortEnd > s.HostPort {
		return ""
	}
	key := fmt.Sprint(s.HostPort, "/", s.Proto)
	all := func(a netip.Addr) bool { return !a.IsValid() || a.IsUnspecified() }
	for _, c := range h.claims[key] {
		if c.container != container && (all(c.addr) || all(s.HostIP) || c.addr == s.HostIP) {
			return c.container
		}
	}
	h.claims[key] = append(h.claims[key], portClaim{s.HostIP, container})
	return ""
}

// checkPeers makes sure that a container whose namespaces or volumes are to be shared exists, when it is not one of this
// project, and lets others share its ipc namespace.
func (r *run) checkPeers(c *container.Config) error {
	for _, m := range [][2]string{{"network_mode", c.NetworkMode}, {"pid", c.Pid}, {"ipc", c.IPC}} {
		key, mode := m[0], m[1]
		name, isService := strings.CutPrefix(mode, "service:")
		switch {
		case isService && key == "ipc":
			if err := engine.CheckShareable(name, r.project.Services[name].Ipc); err != nil {
				return container.At(err, key)
			}
		case strings.HasPrefix(mode, "container:"):
			u, err := r.s.Peer(c, mode)
			if err == nil && key == "ipc" {
				err = engine.CheckShareable(name, u.Config.IPC)
			}
			if err != nil {
				return container.At(err, key)
			}
		}
	}
	service := r.project.Services[c.Service]
	for _, from := range service.VolumesFrom {
		mode, _, err := container.VolumesFrom(from)
		if err == nil && strings.HasPrefix(mode, "container:") {
			_, err = r.s.Peer(c, mode)
		}
		if err != nil {
			return container.At(err, "volumes_from")
		}
	}
	return nil
}
