#!/bin/sh
# Runs a command once in a pod like a service's, with its settings, secrets and Kafka user, and prints what it says.
# Usage: deploy/k8s/run-as.sh SERVICE COMMAND... KUBECTL names another kubectl, with its options.
set -eu
service="${1:?which service: a Deployment}"
shift
: "${1:?which command: python -m ...}"
kubectl="${KUBECTL:-kubectl} -n site-access"
job="$service-command"
made="$(mktemp)"
trap 'rm -f "$made"' EXIT
$kubectl get deployment "$service" -o json | python3 -c '
import json, sys
pod = json.load(sys.stdin)["spec"]["template"]
container = pod["spec"]["containers"][0]
container["command"] = sys.argv[2:]
for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
    container.pop(probe, None)
pod["spec"]["restartPolicy"] = "Never"
spec = {"backoffLimit": 0, "ttlSecondsAfterFinished": 3600, "template": pod}
json.dump({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": sys.argv[1]}, "spec": spec}, sys.stdout)
' "$job" "$@" > "$made"

$kubectl delete job "$job" --ignore-not-found
$kubectl apply -f "$made"
# Over is what has succeeded or failed once: it is not tried again.
until [ -n "$($kubectl get job "$job" -o jsonpath='{.status.succeeded}{.status.failed}')" ]; do sleep 1; done
$kubectl logs "job/$job"
test -n "$($kubectl get job "$job" -o jsonpath='{.status.succeeded}')"
