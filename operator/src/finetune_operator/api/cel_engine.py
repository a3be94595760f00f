"""The engine of CEL, without the command line that its package imports with it.

That is the toolkit of a terminal: a tenth of a second and 9 MB, which the operator would keep for ever.
"""

import sys
from types import ModuleType

# cel/__init__.py asks for it, and nothing in the engine does.
sys.modules.setdefault("cel.cli", ModuleType("cel.cli"))

from cel import Context, compile  # noqa: A004, E402

__all__ = ["Context", "compile"]
