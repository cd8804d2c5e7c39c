#!/usr/bin/env bash
# Shows the newest sign-ins with key, headers and value: examples/kcat/sign-ins.sh [records a partition, default 1].
# STACK_JSON says where the stack's file is, KAFKA_BOOTSTRAP another broker.
set -euo pipefail
fail() { echo "$1" >&2; exit 1; }
command -v kcat > /dev/null || fail "kcat is missing (Debian: apt-get install kcat)"
stack="${STACK_JSON:-$(dirname "$0")/../../.run/stack.json}"
if [ -z "${KAFKA_BOOTSTRAP:-}" ]; then
  [ -f "$stack" ] || fail "$stack is not there: start the platform with make up, or set KAFKA_BOOTSTRAP"
  KAFKA_BOOTSTRAP=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["kafka"])' "$stack")
fi
kcat -C -q -e -b "$KAFKA_BOOTSTRAP" -t attendance.sign-in.v1 -o "-${1:-1}" \
  -f '%t partition %p offset %o, received %T ms\n  key     %k\n  headers %h\n  value   %s\n'
