"""The families of models that are trained, one file each, and those that are refused by name."""

from finetune_trainer.base.families.deepseek_v2 import DEEPSEEK_V2
from finetune_trainer.base.families.deepseek_v3 import DEEPSEEK_V3
from finetune_trainer.base.families.family import Family, Published
from finetune_trainer.base.families.glm4_moe_lite import GLM4_MOE_LITE
from finetune_trainer.base.families.kimi_k2 import KIMI_K2
from finetune_trainer.base.families.refused import REFUSED, Refused

FAMILIES = {family.model_type: family for family in (DEEPSEEK_V3, DEEPSEEK_V2, KIMI_K2, GLM4_MOE_LITE)}

__all__ = ["FAMILIES", "REFUSED", "Family", "Published", "Refused"]
