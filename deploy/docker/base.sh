#!/bin/sh
# The two base images from Debian's packages alone, for machines that reach no image registry: `make image-base`.
#   $1: docker, podman or buildah; $2: the prefix of the images' names; $3: a mirror or a list of sources, if not Debian's own.
set -eu
tool=$1 prefix=$2 mirror=${3:-}
suite=bookworm # its Python is 3.11, as .python-version says
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

base() { # name, variant, packages, further options of mmdebstrap
  name=$1 variant=$2 packages=$3
  shift 3
  mmdebstrap --quiet --variant="$variant" --include="$packages" "$@" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --extract-hook='ln -sf python3 "$1"/usr/bin/python' \
    "$suite" "$folder/root.tar" $mirror
  printf 'FROM scratch\nADD root.tar /\nENV LANG=C.UTF-8\n' > "$folder/Dockerfile"
  "$tool" build -t "$prefix/$name:$suite" "$folder"
}

base python-builder apt python3,python3-pip,ca-certificates

# What runs is unpacked alone: no script of a package has run, there is no shell and no program but Python. Scanners of
# images read the list of packages; the authorities would have been gathered by a script.
base python extract python3,ca-certificates,tzdata,netbase \
  --dpkgopt='path-exclude=/bin/*' --dpkgopt='path-exclude=/sbin/*' --dpkgopt='path-exclude=/usr/sbin/*' \
  --dpkgopt='path-exclude=/usr/bin/*' --dpkgopt='path-include=/usr/bin/python3*' --dpkgopt='path-exclude=/usr/share/perl5/*' \
  --extract-hook='for deb in "$1"/var/cache/apt/archives/*.deb; do dpkg-deb -f "$deb"; printf "Status: install ok installed\n\n"; done > "$1"/var/lib/dpkg/status' \
  --extract-hook='cat "$1"/usr/share/ca-certificates/mozilla/*.crt > "$1"/etc/ssl/certs/ca-certificates.crt' \
  --extract-hook='rm -f "$1"/etc/hostname "$1"/etc/resolv.conf'
