"""One dataset or several: what each may say, and what is said of the rest."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.run import build_run_file, dataset_path, run_of

Build = Callable[..., dict[str, Any]]
A, B = {"uri": "datasets/a.jsonl"}, {"uri": "hf://acme/chats", "format": "sharegpt"}
TOKEN = {"name": "hub", "key": "token"}


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        pytest.param(A, None, id="one"),
        pytest.param({**B, "revision": "c0ffee"}, None, id="one of a revision"),
        pytest.param({"sources": [A]}, None, id="a list of one"),
        pytest.param({"sources": [A, B]}, None, id="several"),
        pytest.param({"sources": [{**A, "share": 0.7}, {**B, "share": 3}]}, None, id="shares"),
        pytest.param({"sources": [A, B], "tokenSecretRef": TOKEN}, None, id="a token for one of them"),
        pytest.param({"sources": [A, B], "validationShare": 0.1}, None, id="validation"),
        pytest.param({"uri": "chats/**/2026-?[0-9]/*.jsonl"}, None, id="a glob"),
        pytest.param({"uri": "hf://acme/chats/data/train-*.parquet"}, None, id="a glob on the hub"),
        pytest.param({"uri": "s3://acme/chats/*.jsonl"}, None, id="a glob of a bucket"),
        pytest.param(
            {},
            "spec.dataset: needs either uri or sources;"
            " name one dataset by uri, or list several under sources",
            id="neither",
        ),
        pytest.param(
            {**A, "sources": [B]},
            "spec.dataset: needs either uri or sources;"
            " name one dataset by uri, or list several under sources",
            id="both",
        ),
        pytest.param(
            {"sources": [A, B], "format": "chat"},
            "spec.dataset.sources: each source says for itself how it is read;"
            " move format, train, thoughts, ignoreColumns, split and revision into the sources",
            id="a format for all",
        ),
        pytest.param(
            {"sources": [A, B], "ignoreColumns": ["id"]},
            "spec.dataset.sources: each source says for itself how it is read;"
            " move format, train, thoughts, ignoreColumns, split and revision into the sources",
            id="columns of all",
        ),
        pytest.param(
            {"sources": [{**A, "share": 0.7}, B]},
            "spec.dataset.sources: some of them have a share and some have none;"
            " give every source a share, or none",
            id="some shares",
        ),
        pytest.param(
            {"sources": [{**A, "share": 0.0}]},
            "spec.dataset.sources[0].share: is 0.0; make it more than 0.0",
            id="no share",
        ),
        pytest.param(
            {"sources": [A, {**A, "revision": "main"}]},
            "spec.dataset.sources[1].revision: only an hf:// dataset has revisions;"
            " remove it, or name the dataset by hf://ORG/NAME",
            id="a revision of a file",
        ),
        pytest.param(
            {"sources": [{**A, "format": "text", "train": "last"}]},
            "spec.dataset.sources[0].format: text has no turns: all of it is learned;"
            " remove train and thoughts, or correct format",
            id="turns of text",
        ),
        pytest.param(
            {"sources": [A], "tokenSecretRef": TOKEN},
            "spec.dataset.tokenSecretRef: only an hf:// dataset takes a token;"
            " remove it; credentials for s3:// come from workers.podOverrides.env",
            id="a token for none",
        ),
        pytest.param(
            {"sources": [{**A, "weight": 1}]},
            "spec.dataset.sources[0].weight: is no field here; remove it; there are revision, format, train,"
            " thoughts, ignoreColumns, split, uri, share",
            id="another name for it",
        ),
        pytest.param(
            {"uri": "../*.jsonl"},
            "spec.dataset.uri: is '../*.jsonl'; use hf://ORG/NAME, s3://BUCKET/KEY, or a path relative to the"
            " volume's root; a file, a folder, or a glob of them",
            id="a glob out of the volume",
        ),
    ],
)
def test_what_is_valid_and_what_is_said(job: Build, dataset: dict[str, Any], said: str | None) -> None:
    manifest = job(dataset=dataset)
    manifest["spec"]["dataset"] = dataset
    assert [str(error) for error in field_errors(FineTuneJob, manifest)] == ([said] if said else [])


@pytest.mark.parametrize(
    ("uri", "revision", "path"),
    [
        pytest.param("datasets/a.jsonl", None, "datasets/a.jsonl", id="volume"),
        pytest.param("datasets/2026-*/*.jsonl", None, "datasets/2026-*/*.jsonl", id="glob in the volume"),
        pytest.param("hf://acme/chats", None, "datasets/acme--chats@main", id="hub"),
        pytest.param("hf://acme/chats", "v1/x", "datasets/acme--chats@v1--x", id="revision"),
        pytest.param("hf://acme/chats/x/*.parquet", None, "datasets/acme--chats@main", id="glob on the hub"),
        pytest.param("s3://acme/chats/a.jsonl", None, "datasets/acme--chats--a.jsonl", id="object"),
        pytest.param("s3://acme/chats/", None, "datasets/acme--chats", id="folder of a bucket"),
        pytest.param("s3://acme/chats/*/x.jsonl", None, "datasets/acme--chats", id="glob of a bucket"),
        pytest.param("s3://acme/*.jsonl", None, "datasets/acme", id="glob of a whole bucket"),
    ],
)
def test_where_a_dataset_is_in_the_volume(uri: str, revision: str | None, path: str) -> None:
    assert dataset_path(uri, revision) == path


def test_the_run_file_has_a_list_of_sources_either_way(job: Build) -> None:
    def sources_of(dataset: dict[str, Any]) -> list[dict[str, Any]]:
        manifest = job()
        manifest["spec"]["dataset"] = dataset
        run = build_run_file(FineTuneJob.model_validate(manifest))
        return [source.model_dump(by_alias=True) for source in run.dataset.sources]

    one, several = sources_of(B), sources_of({"sources": [A, {**B, "share": None}]})
    assert one == several[1:]
    assert [source["path"] for source in several] == ["datasets/a.jsonl", "datasets/acme--chats@main"]
    shares = sources_of({"sources": [{**A, "share": 2}, {**B, "share": 1}]})
    assert [source["share"] for source in shares] == [2.0, 1.0]


def test_a_share_makes_another_run(job: Build) -> None:
    def run(*sources: dict[str, Any]) -> str:
        manifest = job()
        manifest["spec"]["dataset"] = {"sources": list(sources)}
        return run_of(FineTuneJob.model_validate(manifest).spec)

    shared = [{**A, "share": 1}, {**B, "share": 1}]
    assert len({run(A, B), run(B, A), run(*shared), run(shared[0], {**B, "share": 2})}) == 4
