// Package runtime turns an OCI runtime spec into a process: it creates, starts,
// enters, signals, measures and deletes containers on this kernel. It knows
// nothing of compose files, images or networks; those arrive as a spec.
package runtime
