#!/bin/sh
# netns.sh COMMAND [ARG...]
#
# Runs a command in a network namespace of its own, so that a dockerd leaves nothing behind on the host. The outside is
# reached through a process, slirp4netns, without a change to the host. Its MTU is that of the cables which networks are compared
# with, as tutti gives its networks that of the default route.
set -eu

work=$(mktemp -d)
mkfifo "$work/ready"
unshare --net -- sh -c 'ip link set lo up && echo up >"$1" && exec sleep infinity' sh "$work/ready" &
holder=$!
read -r _ <"$work/ready"
slirp4netns --configure --mtu=1500 "$holder" tap0 >"$work/log" 2>&1 &
slirp=$!
trap 'kill $slirp $holder; rm -rf "$work"' EXIT
nsenter --net="/proc/$holder/ns/net" -- "$@"
