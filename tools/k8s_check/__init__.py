"""`python -m tools.k8s_check`: builds and checks everything under deploy/k8s. Nothing here asks a cluster."""
