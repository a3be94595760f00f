"""Pickles taken apart as data: no class or function of theirs is imported, called or looked up.

A pickle names functions and calls them, so loading one runs whatever its author wants. DCP's `.metadata` and
the header of every chunk are pickles. Here a name is looked up in a table of our own; what is not in it ends
the reading (docs/adr/0008-dcp-without-pickle.md).
"""

import pickle
from collections.abc import Mapping
from io import BytesIO
from typing import Any, ClassVar


class InertPickleError(ValueError):
    """The pickle names something that a checkpoint has no use for, or is none."""


class Record:
    """Stands for an object of the pickle: what it was made of, and its attributes."""

    arguments: tuple[Any, ...] = ()

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        # An attribute named like a method would replace it.
        self.state = state

    def __getitem__(self, name: str) -> Any:
        """An attribute. Raises InertPickleError."""
        if name not in self.attributes:
            raise InertPickleError(f"a record has no {name!r}")
        return self.attributes[name]

    @property
    def attributes(self) -> dict[str, Any]:
        """Empty where the pickle gives none."""
        state = getattr(self, "state", None)
        return state if isinstance(state, dict) else {}


_ALLOWED = (
    "PROTO STOP FRAME MARK POP POP_MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT "
    "SHORT_BINUNICODE BINUNICODE EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT "
    "SETITEM SETITEMS MEMOIZE BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL STACK_GLOBAL "
    "REDUCE NEWOBJ BUILD BINPERSID"
)
"""What torch's pickles are made of. The rest could take memory by a length alone, or call otherwise."""


class _Unpickler(pickle._Unpickler):
    """Python's own, in Python: the one in C takes memory by the memo's greatest index, 64 GB at worst."""

    dispatch: ClassVar = {
        code: run
        for code, run in pickle._Unpickler.dispatch.items()
        if code in {ord(getattr(pickle, name)) for name in _ALLOWED.split()}
    }

    def __init__(self, content: bytes, names: Mapping[str, Any]) -> None:
        super().__init__(BytesIO(content))
        self._names = names

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full not in self._names:
            raise InertPickleError(f"it names {full[:160]!r}, which no checkpoint needs")
        return self._names[full]

    def persistent_load(self, reference: Any) -> Any:
        """A tensor's storage, by what the pickle says of it."""
        return reference


def load(content: bytes, names: Mapping[str, Any]) -> Any:
    """The object, made of dict, list, tuple, numbers, text and what `names` maps full names to.

    Raises InertPickleError.
    """
    try:
        return _Unpickler(content, names).load()
    except InertPickleError:
        raise
    except Exception as error:  # a pickle's opcodes fail in every way there is
        raise InertPickleError(f"not a pickle of a checkpoint: {str(error)[:160]}") from error
