"""The end of a process that was part of a process group."""

import atexit
import os
import sys
from typing import NoReturn


def exit_process(code: int) -> NoReturn:
    """End with this code once what was registered for the end has run; the interpreter is not taken apart.

    Device meshes hold a group beyond `destroy_process_group`. A thread of it that lets go of a tensor while
    the interpreter ends cannot have the GIL: CPython ends the thread, whereupon C++ aborts the process, now
    and then, after all that it was there for (pytorch#179291).
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
