"""The low-rank adapter: its size and the modules it goes on."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import ModuleName, Revision, Unique
from finetune_operator.api.job_ref import ONE_SOURCE, FineTuneJobRef
from finetune_operator.api.rules import Rule
from finetune_operator.api.uri import NOT_READ_YET, Uri, only_the_hub_has_revisions

SERVED_ATTENTION = "served_attention"
# vLLM's MLAAttention takes W_UK and W_UV out of kv_b_proj's weight once, when it is loaded, and its prefill
# calls the layer as it was before LoRA wrapped it: no LoRA is ever applied there (vllm issue 48974, open;
# read in vLLM 0.32 and 0.33.0, mla_attention.py, process_weights_after_loading).
_UNSERVED = ("attention", "kv_b_proj", "wkv_b")

AttentionModule = Literal["q_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"]
Rank = Annotated[int, Field(ge=1, le=1024)]
Alpha = Annotated[float, Field(gt=0, le=65536)]


def _of_targets(field: str) -> Rule:
    return Rule(
        rule=f"self.{field}.all(m, m in {list(get_args(AttentionModule))} && (m in self.targets"
        " || 'attention' in self.targets || ('served_attention' in self.targets && m != 'kv_b_proj')))",
        problem="a pattern is of a module of attention that targets names",
        remedy=f"use {', '.join(get_args(AttentionModule))}, and name them or attention in targets",
        field=field,
    )


class AdapterSource(ApiModel):
    """An adapter in PEFT's format, and where it is."""

    fine_tune_job_ref: FineTuneJobRef | None = None
    """The job whose adapter it is, in the same volume; this one waits until that one is trained."""

    uri: Uri | None = None
    """A folder, relative to the volume's root; hf://ORG/NAME, opened by model.tokenSecretRef; or
    s3://BUCKET/PREFIX."""

    revision: Revision | None = None
    """Branch, tag or commit of an hf:// adapter. Default: main."""

    rules: ClassVar[tuple[Rule, ...]] = (
        ONE_SOURCE,
        NOT_READ_YET,
        only_the_hub_has_revisions("adapter"),
    )


class LoraSpec(ApiModel):
    """LoRA (Hu et al. 2021): W + (alpha / rank) * B @ A, with W frozen."""

    rank: Rank = 16
    """Rank of the adapter's matrices, 1 to 1024."""

    alpha: Alpha = 32.0
    """Scale of the adapter: its delta is multiplied by alpha / rank."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability of dropping an adapter's input while training, 0 to below 1."""

    targets: Annotated[list[ModuleName], *Unique, Field(min_length=1, max_length=64)] = ["attention"]
    """What gets an adapter: attention (the MLA projections), served_attention (those of them that vLLM also
    applies unmerged: all but kv_b_proj), mlp (dense and shared experts), experts (routed experts), or module
    names such as o_proj."""

    use_rslora: bool = False
    """Scale by alpha / sqrt(rank) instead (Kalajdzievski 2023), for high ranks."""

    dora: bool = False
    """DoRA (Liu et al. 2024): also train the norm of each row of an adapted weight. For targets of attention
    alone; vLLM does not serve it unmerged."""

    rank_pattern: Annotated[dict[AttentionModule, Rank], Field(max_length=6)] = {}
    """Ranks of single modules of attention, such as `q_b_proj: 32`; the others have rank."""

    alpha_pattern: Annotated[dict[AttentionModule, Alpha], Field(max_length=6)] = {}
    """Alphas of single modules of attention; the others have alpha."""

    from_: Annotated[AdapterSource | None, Field(alias="from")] = None
    """Start from an adapter, of this base and of the same rank, alpha and targets, and train it on. Default:
    start from the base. The optimizer and its schedule begin anew."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!self.targets.exists(t, t in ['gate', 'router', 'router.gate', 'mlp.gate'])",
            problem="the router is never trained",
            remedy="name other modules, or attention, mlp, experts",
            field="targets",
        ),
        _of_targets("rankPattern"),
        _of_targets("alphaPattern"),
        Rule(
            rule="!self.dora || !has(self.from)",
            problem="no run goes on with an adapter by DoRA, nor makes one of a plain adapter",
            remedy="remove dora or from",
            field="dora",
        ),
        Rule(
            rule="!self.dora || !self.targets.exists(t, t in ['mlp', 'experts', 'gate_proj', 'up_proj',"
            " 'down_proj', 'w1', 'w2', 'w3'])",
            problem="PEFT has no DoRA of experts, nor of MLPs beside them",
            remedy="name attention, or modules of it, in targets; or remove dora",
            field="dora",
        ),
    )

    @property
    def greatest_rank(self) -> int:
        """Of all modules."""
        return max(self.rank, *self.rank_pattern.values()) if self.rank_pattern else self.rank

    @property
    def unserved_targets(self) -> tuple[str, ...]:
        """Targets with adapters that vLLM leaves out when it serves them unmerged."""
        return tuple(target for target in self.targets if target in _UNSERVED)


def unserved_message(targets: Sequence[str]) -> str:
    """What to say of them."""
    return (
        f"vLLM applies no LoRA to kv_b_proj, which lora.targets names ({', '.join(targets)}): served "
        "unmerged, the adapter is not the model that is trained; serve the merged model, or train "
        f"{SERVED_ATTENTION} in its place"
    )
