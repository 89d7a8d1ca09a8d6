package api

// Usage is what a container uses, as docker's `stats` shows it. Bytes but for the percentages: CPUPercent is 100 for each
// CPU that is busy all the time, MemoryPercent a share of MemoryLimit, which is the host's memory without a limit.
type Usage struct {
	ID            string  `json:"id"` // 64 hex digits
	Name          string  `json:"name"`
	Service       string  `json:"service"`
	Running       bool    `json:"running"`
	CPUPercent    float64 `json:"cpuPercent"`
	Memory        uint64  `json:"memory"` // without page cache that is not in use
	MemoryLimit   uint64  `json:"memoryLimit"`
	MemoryPercent float64 `json:"memoryPercent"`
	NetRx         uint64  `json:"netRx"` // since the start, over all interfaces
	NetTx         uint64  `json:"netTx"`
	BlockRead     uint64  `json:"blockRead"`
	BlockWrite    uint64  `json:"blockWrite"`
	Pids          uint64  `json:"pids"` // threads
}

// Processes are the processes of one container, as ps lists them.
type Processes struct {
	Container string     `json:"container"`
	Service   string     `json:"service"`
	Number    int        `json:"number"`
	Titles    []string   `json:"titles"`
	Rows      [][]string `json:"rows"`
}
