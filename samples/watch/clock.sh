#!/bin/sh
while :; do
	echo "it is $(date +%T)"
	sleep 10
done
