import os

# Tests fork ranks, and a child of a process in which OpenMP has threads hangs in its first parallel loop
# (https://github.com/pytorch/pytorch/issues/41197). Read once, when torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"
