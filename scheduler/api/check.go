package api

// CheckRequest asks for POST /check: everything that the engine keeps is compared with everything else.
type CheckRequest struct {
	Repair bool `json:"repair,omitempty"`
	// Deep compares the files of unpacked layers with their content, too.
	Deep bool `json:"deep,omitempty"`
	// KeepAside leaves alone, and unsaid, an image store that was set aside: it has just been, by who asks.
	KeepAside bool `json:"keepAside,omitempty"`
}

// CheckReport is what a check has found.
type CheckReport struct {
	Checked  map[string]int `json:"checked"` // how many of what were looked at, such as "images"
	Findings []Finding      `json:"findings"`
}

// States of a Finding.
const (
	FindingOpen     = "open"     // nothing has been done about it
	FindingRepaired = "repaired" // what Remedy says was done
	FindingFailed   = "failed"   // it was tried, see Error
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Area    string `json:"area"`             // images, build cache, containers, volumes, networks, host, databases
	Object  string `json:"object"`           // a digest, path or name
	Problem string `json:"problem"`          // what is wrong
	Remedy  string `json:"remedy,omitempty"` // what a repair does; empty: there is nothing that it could do
	Hint    string `json:"hint,omitempty"`   // what is left for people to do
	State   string `json:"state"`
	Error   string `json:"error,omitempty"`
}

// Open counts the findings that are not repaired.
func (r CheckReport) Open() int {
	n := 0
	for _, f := range r.Findings {
		if f.State != FindingRepaired {
			n++
		}
	}
	return n
}
