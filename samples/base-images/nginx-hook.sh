#!/bin/sh
# Gives Debian's nginx in the root file system $1 the layout of the image on Docker Hub.
set -eu
cd "$1"
rm -f etc/nginx/sites-enabled/*
mkdir -p usr/share/nginx/html
printf 'server {\n  listen 80;\n  location / {\n    root /usr/share/nginx/html;\n    index index.html;\n  }\n}\n' >etc/nginx/conf.d/default.conf
ln -sf /dev/stdout var/log/nginx/access.log
ln -sf /dev/stderr var/log/nginx/error.log
