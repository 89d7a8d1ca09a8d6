// Package samples holds real compose projects. Each is also an end-to-end test: the tests here run the
// binary as a user would, every test with an engine of its own (--root).
package samples
