#!/bin/bash
# Exits with 0 when nginx serves the application. The image has no HTTP client, so bash speaks HTTP.
exec 3<>/dev/tcp/127.0.0.1/4200 || exit 1
printf 'GET /healthz HTTP/1.0\r\n\r\n' >&3
read -r _ status _ <&3
[ "$status" = 200 ]
