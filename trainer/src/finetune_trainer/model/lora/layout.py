"""How an adapter is sharded, derived from how its base weight is."""

import spmd_types as spmd
from torchtitan.protocols.sharding import ShardingConfig, SpmdLayout


def adapter_layouts(base: SpmdLayout, *, out_dim: int, in_dim: int) -> tuple[SpmdLayout, SpmdLayout]:
    """The layouts of A (.., rank, in) and B (.., out, rank) beside a base weight (.., out, in).

    A follows the base's input dimension and B its output dimension; the rank is never sharded. Any other
    dimension (the experts' under expert parallelism) and replication carry over to both, so that a weight
    that tensor parallelism replicates (wq_a, wkv_a) gets replicated adapters.
    """
    return (_replicating(base, dim=out_dim), _replicating(base, dim=in_dim))


def linear_adapter_sharding(
    base: ShardingConfig | None,
) -> tuple[ShardingConfig | None, ShardingConfig | None]:
    """`adapter_layouts` for the two small linear modules of an adapted `Linear`."""
    if base is None or "weight" not in base.state_shardings:
        return None, None
    layout_a, layout_b = adapter_layouts(base.state_shardings["weight"], out_dim=0, in_dim=1)
    return (
        ShardingConfig(state_shardings={"weight": layout_a}),
        ShardingConfig(state_shardings={"weight": layout_b}),
    )


def _replicating(layout: SpmdLayout, *, dim: int) -> SpmdLayout:
    return SpmdLayout(
        {
            axis: spmd.R if isinstance(kind, spmd.Shard) and kind.dim == dim else kind
            for axis, kind in layout.axis_types.items()
        }
    )
