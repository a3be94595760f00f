"""The Python client: objects of a cluster, or of a folder of this machine. The command line is made of it."""
