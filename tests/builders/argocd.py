"""Argo CD's health check of a custom kind: Lua 5.1, and of its libraries only base and table."""

from pathlib import Path
from typing import Any

from lupa import lua51

HEALTH = Path(__file__).parents[2] / "gitops" / "health"

# https://github.com/argoproj/argo-cd/blob/master/util/lua/lua.go opens package, base, table and a part of os.
_CLOSED = 'for _, name in ipairs({"io", "debug", "math", "coroutine", "python"}) do _G[name] = nil end\n'
_NO_STRINGS = 'getmetatable("").__index = nil\nstring = nil\n'


def health(manifest: dict[str, Any], script: str | None = None) -> tuple[str, str]:
    """Return status and message that the script of the manifest's kind says."""
    group = manifest["apiVersion"].partition("/")[0]
    text = script or (HEALTH / f"{group}_{manifest['kind']}.lua").read_text()
    runtime = lua51.LuaRuntime(register_eval=False)
    runtime.execute(_CLOSED + _NO_STRINGS)
    runtime.globals().obj = _table(runtime, manifest)
    result = dict(runtime.execute(text))
    assert set(result) == {"status", "message"}
    return result["status"], result["message"]


def _table(runtime: Any, value: Any) -> Any:
    """Return what JSON becomes in Lua: null is nil, and every number a double."""
    if isinstance(value, dict):
        return runtime.table_from({key: _table(runtime, item) for key, item in value.items()})
    if isinstance(value, list):
        return runtime.table_from([_table(runtime, item) for item in value])
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
