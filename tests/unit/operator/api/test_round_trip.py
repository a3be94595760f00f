"""Any spec that is accepted comes back as it was, and is accepted by the CRD too."""

from typing import Any

import jsonschema
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from finetune_operator.api.crd import structural_schema
from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.job import FineTuneJob

SCHEMA = jsonschema.Draft4Validator(structural_schema(FineTuneJob))

degree = st.sampled_from([1, 2, 4])
uris = st.sampled_from(["models/a", "hf://org/name", "s3://bucket/a/b", "a"])
how_long = st.one_of(
    st.fixed_dictionaries({"steps": st.integers(21, 1000)}),
    st.fixed_dictionaries({"epochs": st.floats(0.01, 100)}),
)
recipe = st.fixed_dictionaries(
    {"sequenceLength": st.sampled_from([64, 4096])},
    optional={
        "learningRate": st.floats(1e-8, 1),
        "warmupSteps": st.integers(0, 20),
        "schedule": st.sampled_from(["constant", "linear", "cosine"]),
        "precision": st.sampled_from(["float32", "bfloat16"]),
        "seed": st.integers(0, 2**32 - 1),
        "globalBatchSize": st.sampled_from([8, 16, 64]),
        "checkpoint": st.fixed_dictionaries({}, optional={"keep": st.integers(1, 9)}),
        "parallelism": st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(("replicate", "tensor", "expert", "pipeline", "context"), degree),
        ),
        "overrides": st.dictionaries(
            st.from_regex(r"\A[a-z]{1,8}\.[a-z_]{1,8}\Z").filter(
                lambda path: not path.startswith("training")
            ),
            st.one_of(st.booleans(), st.integers(-9, 9), st.text(max_size=9), st.none()),
            max_size=3,
        ),
    },
)
training = st.builds(lambda duration, rest: {**duration, **rest}, how_long, recipe)
specs = st.fixed_dictionaries(
    {
        "model": st.fixed_dictionaries({"uri": uris}),
        "flavor": st.sampled_from(["tiny_lora", "deepseek_aghilora", "16B_lora", "671B_lora"]),
        "dataset": st.fixed_dictionaries({"uri": uris}, optional={"validationShare": st.floats(0, 0.5)}),
        "training": training,
        "storage": st.sampled_from([{"claimName": "a"}, {"size": "1Gi"}, {"size": 10**9}]),
    },
    optional={
        "lora": st.fixed_dictionaries(
            {},
            optional={"rank": st.integers(1, 1024), "alpha": st.floats(0.1, 64), "useRslora": st.booleans()},
        ),
        "workers": st.fixed_dictionaries(
            {}, optional={"nodes": degree, "gpusPerNode": st.sampled_from([1, 8])}
        ),
        "scheduling": st.fixed_dictionaries({}, optional={"suspend": st.booleans()}),
        "deployment": st.fixed_dictionaries(
            {}, optional={"replicas": st.integers(0, 9), "tensorParallelSize": degree}
        ),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(specs)
def test_round_trip(spec: dict[str, Any]) -> None:
    manifest = {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "a"},
        "spec": spec,
    }
    assume(field_errors(FineTuneJob, manifest) == [])
    job = FineTuneJob.model_validate(manifest)
    written = job.to_dict()
    assert FineTuneJob.model_validate(written) == job
    assert FineTuneJob.model_validate(written).to_dict() == written
    SCHEMA.validate(written)
