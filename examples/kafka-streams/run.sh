#!/usr/bin/env bash
# Builds and starts PassagesPerMinute against the running stack; Ctrl-C ends it. It needs Maven and a JDK from 17 on.
# STACK_JSON says where the stack's file is, KAFKA_BOOTSTRAP another broker.
set -euo pipefail
fail() { echo "$1" >&2; exit 1; }
here="$(cd "$(dirname "$0")" && pwd)"
stack="${STACK_JSON:-$here/../../.run/stack.json}"
if [ -z "${KAFKA_BOOTSTRAP:-}" ]; then
  [ -f "$stack" ] || fail "$stack is not there: start the platform with make up, or set KAFKA_BOOTSTRAP"
  KAFKA_BOOTSTRAP=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["kafka"])' "$stack")
fi
mvn -B -q -f "$here/pom.xml" compile dependency:copy-dependencies >&2 # so that standard output has the counts alone
exec java -Xmx256m -Dstate.dir="$here/target/state" -Dorg.slf4j.simpleLogger.defaultLogLevel=error \
  -cp "$here/target/classes:$here/target/lib/*" PassagesPerMinute "$KAFKA_BOOTSTRAP"
