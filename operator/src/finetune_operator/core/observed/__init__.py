"""What is read of Kubernetes objects: each kind once, by the observe_* beside its class."""
