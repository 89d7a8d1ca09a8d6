package server

// message is a line of docker's progress streams.
type message struct {
	Stream         string    `json:"stream,omitempty"`
	Status         string    `json:"status,omitempty"`
	ID             string    `json:"id,omitempty"`
	ProgressDetail *progress `json:"progressDetail,omitempty"`
	Error          string    `json:"error,omitempty"`
	ErrorDetail    *detail   `json:"errorDetail,omitempty"`
	Aux            any       `json:"aux,omitempty"`
}

type progress struct {
	Current int64 `json:"current,omitempty"`
	Total   int64 `json:"total,omitempty"`
}

type detail struct {
	Message string `json:"message"`
}

func errorMessage(err error) message {
	return message{Error: err.Error(), ErrorDetail: &detail{err.Error()}}
}
