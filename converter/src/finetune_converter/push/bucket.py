"""A merged model to an S3 bucket. boto3's own variables are honoured: AWS_*, AWS_ENDPOINT_URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.digest import digest_file
from finetune_converter.model_files.manifest import read_manifest

_DIGEST = "sha256"
"""The object's metadata that holds the sha256 of its file."""
_FORBIDDEN = ("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")


def push_bucket(model: Path, names: list[str], to: str) -> str:
    """Files in the order of `names`, MANIFEST.json last; one that is there already is not sent again."""
    bucket, _, prefix = to.partition("/")
    listed = {name: record["sha256"] for name, record in read_manifest(model)["files"].items()}
    with _failures(f"s3://{to}"):
        client = boto3.Session().client("s3")
        for name in names:
            digest = listed.get(name) or digest_file(model / name).sha256
            key = "/".join(part for part in (prefix.rstrip("/"), name) if part)
            if _digest_there(client, bucket, key) != digest:
                extra = {"Metadata": {_DIGEST: digest}}
                client.upload_file(str(model / name), bucket, key, ExtraArgs=extra)
    return f"s3://{to}"


def _digest_there(client: Any, bucket: str, key: str) -> str | None:
    try:
        found: str | None = client.head_object(Bucket=bucket, Key=key)["Metadata"].get(_DIGEST)
        return found
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return None
        raise


@contextmanager
def _failures(where: str) -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError, S3UploadFailedError, ValueError) as error:
        # An upload that failed tells the code in its text alone.
        if isinstance(error, NoCredentialsError) or any(f"({code})" in str(error) for code in _FORBIDDEN):
            raise Failure(
                f"{where}: may not be written: {error}",
                Reason.PUSH_FORBIDDEN,
                "Give AWS credentials that may write it",
            ) from error
        raise Failure(
            f"{where}: {error}",
            Reason.PUSH_FAILED,
            "Run the same command again: files that are there are not sent twice",
        ) from error
