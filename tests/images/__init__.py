"""What `make images` built, run as Kubernetes runs it. Not a part of `make test`: docker or podman is needed."""
