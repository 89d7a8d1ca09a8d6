package project

func (p *Project) unsupported() []string { return nil }
