"""The local engine: a Kubernetes of one machine, as much of it as our own children need."""
