"""A base and a dataset from S3."""

import json

import pytest

from finetune_trainer.__main__ import main
from finetune_trainer.prepare import bucket as bucket_module
from finetune_trainer.prepare.bucket import BucketSource
from finetune_trainer.prepare.marker import MARKER, read_marker

pytestmark = pytest.mark.usefixtures("bucket_base")
SHARD = "model-00001-of-00002.safetensors"


def termination(volume):
    return json.loads((volume.root.parent / "termination-log").read_text())


@pytest.fixture
def bucket_base(bucket, pristine_base, volume):
    for file in pristine_base.iterdir():
        bucket.put_object(Bucket="weights", Key=f"tiny/v1/{file.name}", Body=file.read_bytes())
    bucket.put_object(Bucket="weights", Key="tiny/v10/other.json", Body=b"beside")
    bucket.put_object(Bucket="weights", Key="tiny/v1/pytorch_model.bin", Body=b"pickle")
    volume.document["model"] = {"uri": "s3://weights/tiny/v1", "revision": None, "verify": False}
    return bucket


def test_a_prefix_is_fetched(volume, pristine_base, checksum):
    assert main(["prepare", *volume.arguments]) == 0
    assert {file.name for file in volume.base.iterdir()} == {
        file.name for file in pristine_base.iterdir()
    } | {MARKER}
    assert read_marker(volume.base).files[SHARD].sha256 == checksum(pristine_base / SHARD)


def test_a_download_is_resumed(volume, pristine_base, checksum, monkeypatch):
    source = BucketSource("weights", "tiny/v1")
    file = next(file for file in source.list_files().files if file.name == SHARD)
    volume.base.mkdir(parents=True)
    content = (pristine_base / SHARD).read_bytes()
    (volume.base / f"{SHARD}.{file.etag}.part").write_bytes(content[:3_000_000])
    asked = []
    original = bucket_module.BucketSource._resume
    monkeypatch.setattr(
        bucket_module.BucketSource,
        "_resume",
        lambda self, file, part: (asked.append((file.name, part.exists())), original(self, file, part))[1],
    )
    assert main(["prepare", *volume.arguments]) == 0
    assert (SHARD, True) in asked
    assert checksum(volume.base / SHARD) == checksum(pristine_base / SHARD)


def test_a_damaged_beginning_is_noticed(volume):
    file = next(f for f in BucketSource("weights", "tiny/v1").list_files().files if f.name == SHARD)
    volume.base.mkdir(parents=True)
    (volume.base / f"{SHARD}.{file.etag}.part").write_bytes(b"x" * 1000)
    assert main(["prepare", *volume.arguments]) == 11
    assert termination(volume)["reason"] == "SourceCorrupted"
    assert not list(volume.base.glob("*.part"))
    assert main(["prepare", *volume.arguments]) == 0


@pytest.mark.parametrize(
    ("uri", "reason", "message"),
    [
        pytest.param("s3://nowhere/tiny", "SourceNotFound", "not found (NoSuchBucket)", id="bucket"),
        pytest.param("s3://weights/nothing", "SourceNotFound", "there is nothing there", id="prefix"),
    ],
)
def test_what_is_not_there_is_named(volume, uri, reason, message):
    volume.document["model"]["uri"] = uri
    assert main(["prepare", *volume.arguments]) == 2
    assert termination(volume)["reason"] == reason
    assert termination(volume)["message"] == f"{uri}: {message}"


def test_no_credentials_are_named(volume, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    assert main(["prepare", *volume.arguments]) == 2
    assert termination(volume)["reason"] == "SourceForbidden"


def test_an_endpoint_that_does_not_answer_is_retried_later(volume, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert main(["prepare", *volume.arguments]) == 11
    assert termination(volume)["reason"] == "SourceUnreachable"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        pytest.param("s3://weights/data/faq.jsonl", "datasets/weights--faq", id="one-object"),
        pytest.param("s3://weights/data", "datasets/weights--faq", id="prefix"),
        pytest.param("s3://weights/rows.parquet", "datasets/weights--rows", id="parquet"),
    ],
)
def test_a_dataset_is_fetched(volume, bucket, copy_base, as_parquet, uri, path):
    copy_base()
    lines = volume.dataset.read_bytes()
    bucket.put_object(Bucket="weights", Key="data/faq.jsonl", Body=lines)
    bucket.put_object(Bucket="weights", Key="rows.parquet", Body=as_parquet(lines))
    volume.source.update({"uri": uri, "path": path})
    assert main(["prepare", *volume.arguments]) == 0
    assert json.loads((volume.run / "data-report.json").read_text())["lines"] == 3
