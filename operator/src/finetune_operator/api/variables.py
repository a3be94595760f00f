"""Variables of containers that a user cannot set, as the operator's own pods need them as they are."""

from finetune_operator.api.rules import Rule

# By which pods meet and servers know what they serve; torchrun's, LeaderWorkerSet's and our own. torchrun's
# agent reads all of PET_*, and sets the ranks of its processes:
# https://docs.pytorch.org/docs/stable/elastic/run.html
_OURS = (
    *("FINETUNE_.*", "PET_.*", "LWS_.*", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "WORLD_SIZE"),
    *("(LOCAL_|GROUP_|ROLE_)?RANK", "LOCAL_WORLD_SIZE", "SHARD_INDEX", "ADAPTERS_ROOT"),
    *("SERVED_MODEL_NAME", "SERVING_PORT", "VLLM_API_KEY", "MODEL_SIGNING_KEY", "MODEL_PUBLIC_KEY"),
)
PYTHON_PATH = "PYTHONPATH"
"""A user's is joined with the operator's own."""

RULES = (
    Rule(
        rule=f"!self.env.exists(v, v.name.matches('^({'|'.join(_OURS)})$'))",
        problem="a variable is one that the operator sets, or a program that it starts",
        remedy="remove FINETUNE_*, PET_*, LWS_*, ranks, WORLD_SIZE, MASTER_ADDR and the like. workers, "
        "export.signing, servedModelName, port and apiKeySecretRef say what they say",
        field="env",
    ),
    Rule(
        rule="!self.env.exists(v, v.name in ['PATH', 'PYTHONHOME'])",
        problem="PATH and PYTHONHOME hide the programs of the image",
        remedy="remove them. PYTHONPATH adds modules, and an image of your own programs",
        field="env",
    ),
    Rule(
        rule=f"!self.env.exists(v, v.name == '{PYTHON_PATH}' && has(v.valueFrom))",
        problem=f"{PYTHON_PATH} is joined with the operator's own, which takes its value",
        remedy="give value instead of valueFrom",
        field="env",
    ),
)
