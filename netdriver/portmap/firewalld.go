package portmap

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
)

// firewalld on D-Bus, firewalld.dbus(5).
const (
	firewalldName   = "org.fedoraproject.FirewallD1"
	firewalldPath   = "/org/fedoraproject/FirewallD1"
	firewalldZone   = firewalldName + ".zone."
	systemBus       = "unix:path=/run/dbus/system_bus_socket"
	busName         = "org.freedesktop.DBus"
	firewalldWait   = 10 * time.Second
	trustedZone     = "trusted" // everything passes: what passes between our networks our own rules decide
	reloadedMember  = "Reloaded"
	ownerMember     = "NameOwnerChanged"
	signalsCapacity = 16
)

// Firewalld makes firewalld, where it runs, leave our bridges to our rules: its own chains come after all of iptables', and
// refuse what is forwarded from or to an interface that is in no zone. The bridges are in its zone "trusted" as long as
// they exist and no longer than it runs; its permanent configuration stays as it is.
type Firewalld struct {
	address string
	log     *slog.Logger
	changed func() // called when it has come or was reloaded, which makes it forget

	mu      sync.Mutex
	conn    *dbus.Conn
	running bool
	known   map[string]bool // bridges in the zone
	work    sync.WaitGroup
}

// NewFirewalld returns the way to firewalld. It connects when the first bridge is there. An empty address is the system
// bus's.
func NewFirewalld(address string, log *slog.Logger, changed func()) *Firewalld {
	return &Firewalld{address: cmp.Or(address, os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"), systemBus), log: log, changed: changed, known: map[string]bool{}}
}

// Apply puts the bridges that there are into the zone, and takes out those that are gone. Without firewalld it does
// nothing. What firewalld refuses is in the log: nothing else depends on it.
func (f *Firewalld) Apply(ctx context.Context, bridges []string) {
	f.mu.Lock()
	if len(bridges) == 0 && len(f.known) == 0 || !f.connect(ctx) || !f.running {
		f.mu.Unlock()
		return
	}
	conn, known := f.conn, maps.Clone(f.known)
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, firewalldWait)
	defer cancel()
	object := conn.Object(firewalldName, firewalldPath)
	for _, b := range bridges {
		if known[b] {
			continue
		}
		if err := object.CallWithContext(ctx, firewalldZone+"changeZoneOfInterface", 0, trustedZone, b).Err; err != nil {
			f.log.Error("firewalld may block a network: its bridge could not be put into the zone "+trustedZone, "bridge", b, "error", err)
			continue
		}
		f.remember(b, true)
	}
	for b := range known {
		if slices.Contains(bridges, b) {
			continue
		}
		if err := object.CallWithContext(ctx, firewalldZone+"removeInterface", 0, trustedZone, b).Err; err != nil {
			f.log.Warn("firewalld keeps a bridge in the zone "+trustedZone, "bridge", b, "error", err)
		}
		f.remember(b, false)
	}
}

func (f *Firewalld) remember(bridge string, there bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if there {
		f.known[bridge] = true
	} else {
		delete(f.known, bridge)
	}
}

// connect connects to the bus, unless it has, and listens to what concerns us. f.mu is held.
func (f *Firewalld) connect(ctx context.Context) bool {
	if f.conn != nil && f.conn.Connected() {
		return true
	}
	f.conn, f.running = nil, false
	conn, err := dial(ctx, f.address)
	if err != nil {
		return false // a host without D-Bus has no firewalld
	}
	signals := make(chan *dbus.Signal, signalsCapacity)
	conn.Signal(signals)
	err = conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(firewalldName), dbus.WithMatchMember(reloadedMember))
	if err == nil {
		err = conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(busName), dbus.WithMatchMember(ownerMember), dbus.WithMatchArg(0, firewalldName))
	}
	if err == nil {
		err = conn.BusObject().CallWithContext(ctx, busName+".NameHasOwner", 0, firewalldName).Store(&f.running)
	}
	if err != nil {
		f.log.Warn("ask for firewalld", "error", err)
		_ = conn.Close()
		return false
	}
	f.conn = conn
	f.work.Go(func() { f.listen(signals) })
	return true
}

func dial(ctx context.Context, address string) (*dbus.Conn, error) {
	conn, err := dbus.Dial(address, dbus.WithContext(context.WithoutCancel(ctx))) // it outlives this call; Close ends it
	if err != nil {
		return nil, err
	}
	late := time.AfterFunc(firewalldWait, func() { _ = conn.Close() }) // a bus that does not answer
	defer late.Stop()
	if err = conn.Auth(nil); err == nil {
		err = conn.Hello()
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("connect to D-Bus: %w", err)
	}
	return conn, nil
}

// listen notes that firewalld comes, goes and forgets, until the connection ends, which closes the channel.
func (f *Firewalld) listen(signals <-chan *dbus.Signal) {
	for s := range signals {
		running := true
		if s.Name == busName+"."+ownerMember {
			owner, ok := "", false
			if len(s.Body) == 3 {
				owner, ok = s.Body[2].(string)
			}
			running = ok && owner != ""
		} else if s.Name != firewalldName+"."+reloadedMember {
			continue
		}
		f.mu.Lock()
		f.running = running
		clear(f.known)
		f.mu.Unlock()
		if running {
			f.changed()
		}
	}
}

// Close ends the connection.
func (f *Firewalld) Close() {
	f.mu.Lock()
	conn := f.conn
	f.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
	f.work.Wait()
}
