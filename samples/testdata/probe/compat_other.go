//go:build !amd64

package main

const has32 = false

func verdict32(uint32) int { return -1 }
