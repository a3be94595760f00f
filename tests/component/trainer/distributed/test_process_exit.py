"""A worker's end is what it came to, whatever the interpreter would still find to take apart."""

import subprocess
import sys

PROGRAM = """
import atexit, os
from finetune_trainer.distributed.process_exit import exit_process

class Group:
    def __del__(self):
        os.abort()

group = Group()
atexit.register(print, "registered for the end")
print("trained")
exit_process(13)
"""


def test_a_group_that_is_still_held_does_not_abort_the_process():
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (13, "trained\nregistered for the end\n", "")
