#!/usr/bin/env bash
# The base images of the samples, under their Docker Hub names.
#
#   base-images.sh ensure TUTTI     makes sure that the engine of the binary TUTTI has them all:
#                                   pulled where Docker Hub answers, otherwise bootstrapped
#   base-images.sh bootstrap        writes CACHE/busybox.tar and CACHE/base-images.tar and prints CACHE
#
# Bootstrapped images come from Debian's packages (mmdebstrap, busybox-static), from npm (Node.js) and
# from the Go installation of this machine. They are docker-archives: any engine loads them.
# CACHE is ${TUTTI_CACHE:-/var/cache/tutti}/base-images-<hash of these scripts and of Go's version>.
set -euo pipefail
shopt -s inherit_errexit

SUITE=bookworm
NODE_VERSION=20.20.2
NPM_VERSION=10.9.8
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
IMAGES=(busybox:latest debian:bookworm-slim golang:1.26-bookworm nginx:1-bookworm node:20-bookworm-slim)
BASE_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

main() {
  case "${1:-}" in
  ensure) ensure "${2:?path of the tutti binary}" ;;
  bootstrap) bootstrap ;;
  *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
}

say() { printf '%s\n' "$*" >&2; }

ensure() {
  local tutti=$1 missing
  missing=$(missing_images "$tutti")
  [ -n "$missing" ] || { say "base images: all there"; return 0; }
  say "base images: missing" $missing
  pull "$tutti" $missing && return
  local cache
  cache=$(bootstrap)
  "$tutti" image load --input "$cache/busybox.tar"
  "$tutti" image load --input "$cache/base-images.tar"
}

missing_images() {
  local have image
  have=$("$1" image ls --format '{{.Repository}}:{{.Tag}}')
  for image in "${IMAGES[@]}"; do
    grep -qxF "$image" <<<"$have" || printf '%s ' "$image"
  done
}

# The smallest image tells whether Docker Hub can be reached from here.
pull() {
  local tutti=$1 image
  shift
  if ! timeout 20 "$tutti" image pull --quiet busybox:latest >/dev/null 2>&1; then
    say "base images: Docker Hub does not answer, so they are made from Debian packages and npm"
    return 1
  fi
  for image in "$@"; do
    "$tutti" image pull "$image" || return
  done
}

# ---- bootstrap ----

bootstrap() {
  local version root cache
  version=$({ cat "$HERE"/*.sh; go version; } | sha256sum | cut -c1-12)
  root=${TUTTI_CACHE:-/var/cache/tutti}
  cache=$root/base-images-$version
  mkdir -p "$root"
  exec 9>"$root/base-images.lock"
  flock 9
  if [ ! -d "$cache" ]; then
    WORK=$(mktemp -d "$root/work.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
    build_archives >&2
    rm -rf "$root"/base-images-*
    mv "$WORK/out" "$cache"
  fi
  printf '%s\n' "$cache"
}

build_archives() {
  cd "$WORK"
  mkdir layers out
  say "base images: bootstrapping (about a minute)"
  local jobs=()
  debian_layer debian & jobs+=($!)
  debian_layer nginx --include=nginx-light --customize-hook="$HERE/nginx-hook.sh \"\$1\"" & jobs+=($!)
  busybox_layer
  golang_layer
  local job
  for job in "${jobs[@]}"; do wait "$job"; done
  node_layer

  begin_archive
  add_image busybox:latest '"Cmd":["sh"]' busybox
  finish_archive out/busybox.tar

  begin_archive
  add_image debian:bookworm-slim '"Cmd":["bash"]' debian
  add_image node:20-bookworm-slim '"Cmd":["node"],"Env":["PATH='$BASE_PATH'","NODE_VERSION='$NODE_VERSION'"]' debian node
  add_image golang:1.26-bookworm '"Cmd":["bash"],"WorkingDir":"/go","Env":["PATH=/go/bin:/usr/local/go/bin:'$BASE_PATH'","GOTOOLCHAIN=local","GOPATH=/go"]' debian golang
  add_image nginx:1-bookworm '"Cmd":["nginx","-g","daemon off;"],"StopSignal":"SIGQUIT","ExposedPorts":{"80/tcp":{}}' nginx
  finish_archive out/base-images.tar
}

# ---- layers: each function writes layers/NAME.tar ----

# debian_layer NAME [MMDEBSTRAP OPTION...]
debian_layer() {
  local name=$1
  shift
  mmdebstrap --quiet --variant=apt --skip=output/dev \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --aptopt='Apt::Install-Recommends "false"' \
    "$@" --customize-hook='rm -f "$1/etc/resolv.conf" "$1/etc/hostname"' \
    "$SUITE" "$WORK/layers/$name.tar"
}

busybox_layer() {
  local root=busybox applet
  mkdir -p $root/{bin,dev,etc,home,proc,root,sys,tmp,usr/bin,usr/sbin,var}
  chmod 1777 $root/tmp
  install "$(command -v busybox)" $root/bin/busybox
  for applet in $($root/bin/busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >$root/etc/passwd
  printf 'root:x:0:\nnogroup:x:65534:\n' >$root/etc/group
  pack busybox $root
}

# The npm package node-linux-<arch> is Node.js's own binary; npm comes as its own package.
node_layer() {
  local root=node arch
  case "$(uname -m)" in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) say "no Node.js package for $(uname -m)"; return 1 ;; esac
  mkdir -p $root/usr/local/{bin,lib/node_modules/npm} $root/home/node
  npm pack --silent "node-linux-$arch@$NODE_VERSION" "npm@$NPM_VERSION" >/dev/null
  tar -xzf "node-linux-$arch-$NODE_VERSION.tgz" --no-same-owner -C $root/usr/local/bin --strip-components=2 package/bin/node
  tar -xzf "npm-$NPM_VERSION.tgz" --no-same-owner -C $root/usr/local/lib/node_modules/npm --strip-components=1
  chmod 755 $root/usr/local/lib/node_modules/npm/bin/*.js
  ln -s ../lib/node_modules/npm/bin/npm-cli.js $root/usr/local/bin/npm
  ln -s ../lib/node_modules/npm/bin/npx-cli.js $root/usr/local/bin/npx
  # The user that the image on Docker Hub has, added to the accounts of the layer below.
  tar -xf layers/debian.tar -C $root ./etc/passwd ./etc/group
  echo 'node:x:1000:1000::/home/node:/bin/bash' >>$root/etc/passwd
  echo 'node:x:1000:' >>$root/etc/group
  chown 1000:1000 $root/home/node
  pack node $root
}

# The Go installation that builds tutti, without its tests and documentation.
golang_layer() {
  local root=golang
  mkdir -p $root/usr/local/go $root/go/{bin,src,pkg}
  chmod 1777 $root/go $root/go/{bin,src,pkg}
  (cd "$(go env GOROOT)" && tar -ch --exclude=./test --exclude=./api --exclude=./doc --exclude=testdata .) |
    tar -x --no-same-owner -C $root/usr/local/go
  pack golang $root
}

pack() { tar --numeric-owner --sort=name -C "$2" -cf "layers/$1.tar" . && rm -rf "$2"; }

# ---- docker-archive, as `docker save` writes it ----

begin_archive() { mkdir archive; MANIFEST=; }

# add_image NAME CONFIG-MEMBERS LAYER...
add_image() {
  local name=$1 config=$2 diffs= files= layer
  shift 2
  for layer in "$@"; do
    [ -f "layers/$layer.sha256" ] || sha256sum "layers/$layer.tar" | cut -d' ' -f1 >"layers/$layer.sha256"
    diffs+=",\"sha256:$(cat "layers/$layer.sha256")\""
    files+=",\"$layer.tar\""
    ln -f "layers/$layer.tar" "archive/$layer.tar"
  done
  [[ $config == *PATH=* ]] || config+=',"Env":["PATH='$BASE_PATH'"]'
  printf '{"architecture":"%s","os":"linux","created":"%s","config":{%s},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "$(go env GOARCH)" "$(date -u +%FT%TZ)" "$config" "${diffs:1}" >archive/config.json
  local id
  id=$(sha256sum archive/config.json | cut -d' ' -f1)
  mv archive/config.json "archive/$id.json"
  MANIFEST+=",{\"Config\":\"$id.json\",\"RepoTags\":[\"$name\"],\"Layers\":[${files:1}]}"
}

finish_archive() {
  printf '[%s]' "${MANIFEST:1}" >archive/manifest.json
  tar -C archive -cf "$1" manifest.json $(cd archive && ls | grep -v manifest.json)
  rm -rf archive
}

main "$@"
