"""Which modules and parameters adapter_config.json adapts, by PEFT's own rules.

Source: PEFT 0.21, peft.tuners.tuners_utils (check_target_module_exists, _inject_parameters) and
peft.utils.transformers_weight_conversion: transformers 5 stacks routed experts in two parameters and gives
the router a class of its own, so PEFT takes four names of modules to mean these parameters.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ALL_LINEAR = "all-linear"
GATE_UP, DOWN, ROUTER = "gate_up_proj", "down_proj", "gate"
STACKED = {"gate_proj": GATE_UP, "up_proj": GATE_UP, "down_proj": DOWN}
"""Of an expert's modules, the parameter that holds them."""


def matching(pattern: str, name: str) -> bool:
    """get_pattern_key's rule for rank_pattern and alpha_pattern: a whole tail of the name."""
    return re.match(rf"(.*\.)?({pattern})$", name) is not None


@dataclass(frozen=True, kw_only=True)
class Targets:
    modules: tuple[str, ...] | str
    """Tails of names, an expression for the whole name, or "all-linear"."""
    parameters: tuple[str, ...]
    excluded: tuple[str, ...] | str
    layers: tuple[int, ...] | None
    layers_patterns: tuple[str, ...]
    saved: tuple[str, ...]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> "Targets":
        layers = raw.get("layers_to_transform")
        return cls(
            modules=_names(raw.get("target_modules")),
            parameters=tuple(raw.get("target_parameters") or ()),
            excluded=_names(raw.get("exclude_modules")),
            # An empty list means every layer, as none does.
            layers=(layers,) if isinstance(layers, int) else tuple(layers or ()) or None,
            layers_patterns=_listed(raw.get("layers_pattern")),
            saved=_listed(raw.get("modules_to_save")),
        )

    def expressions(self) -> Iterator[tuple[str, str]]:
        """The fields whose values are regular expressions, with each of them."""
        if isinstance(self.modules, str):
            yield "target_modules", self.modules
        if isinstance(self.excluded, str):
            yield "exclude_modules", self.excluded
        yield from (("layers_pattern", pattern) for pattern in self.layers_patterns)
        yield from (("modules_to_save", pattern) for pattern in self.saved)

    def has_module(self, name: str) -> bool:
        """Whether a module is adapted, by its name in the model."""
        if self._excludes(name):
            return False
        if isinstance(self.modules, str):
            if self.modules.lower() == ALL_LINEAR:
                return name.rpartition(".")[2] not in ("lm_head", "embed_tokens")
            return re.fullmatch(self.modules, name) is not None
        if name in self.modules:
            # PEFT looks at the layer only when a tail matches, not the whole name.
            return True
        return _ends_with(name, self.modules) and self._has_layer(name)

    def has_parameter(self, name: str) -> bool:
        """Whether a parameter, such as `mlp.experts.gate_up_proj`, is adapted by its own name."""
        return _ends_with(name, self.parameters) or name in self.parameters

    def stacked_modules(self) -> frozenset[str]:
        """The names among target_modules that PEFT takes to mean parameters: of experts and of the router."""
        known = (*STACKED, ROUTER)
        if isinstance(self.modules, str):
            return frozenset(known) if self.modules.lower() == ALL_LINEAR else frozenset()
        return frozenset(leaf for name in self.modules if (leaf := name.rpartition(".")[2]) in known)

    def _excludes(self, name: str) -> bool:
        if isinstance(self.excluded, str):
            if re.fullmatch(self.excluded, name):
                return True
        elif name in self.excluded or _ends_with(name, self.excluded):
            return True
        return any(re.match(rf"(^|.*\.){saved}($|\..*)", name) for saved in self.saved)

    def _has_layer(self, name: str) -> bool:
        if self.layers is None:
            return True
        # The first number is the layer's; an expert's follows.
        patterns = [rf"(?:^|.*?\.){pattern}\.(\d+)\." for pattern in self.layers_patterns]
        for pattern in patterns or [r".*?\.[^.]*\.(\d+)\."]:
            if found := re.match(pattern, name):
                return int(found[1]) in self.layers
        return False


def _ends_with(name: str, tails: tuple[str, ...]) -> bool:
    return name.endswith(tuple(f".{tail}" for tail in tails))


def _names(value: Any) -> tuple[str, ...] | str:
    return value if isinstance(value, str) and value else _listed(value)


def _listed(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) and value else tuple(value or ())
