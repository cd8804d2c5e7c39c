#!/bin/sh
# Rolls an overlay out in its order: what is needed first, the preparations, then one service after the other.
# Usage: deploy/k8s/roll-out.sh OVERLAY. KUBECTL names another kubectl, with its options.
set -eu
overlay="$(dirname "$0")/overlays/${1:?which overlay: a folder under deploy/k8s/overlays}"
kubectl="${KUBECTL:-kubectl}"
namespace=site-access
rendered="$(mktemp)"
trap 'rm -f "$rendered"' EXIT
$kubectl kustomize "$overlay" > "$rendered"

apply() { $kubectl apply -f "$rendered" "$@"; }

# What Jobs and pods need: settings, secrets, policies, topics, certificates.
apply --selector \
  "app.kubernetes.io/component in (namespace, settings, secrets, network, part, topic, kafka-user, tls)"
$kubectl -n "$namespace" delete job --selector app.kubernetes.io/component=preparation --ignore-not-found
apply --selector app.kubernetes.io/component=preparation
$kubectl -n "$namespace" wait job --selector app.kubernetes.io/component=preparation \
  --for=condition=complete --timeout=360s

for service in session attendance-writer console task-api tcp-ingress; do
  apply --selector "app.kubernetes.io/name=$service"
  $kubectl -n "$namespace" rollout status "deployment/$service" --timeout=3600s
done
# What belongs to no service: collector, monitoring, gateway.
apply
