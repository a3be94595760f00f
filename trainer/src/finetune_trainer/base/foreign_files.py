"""What a file is that should hold weights or JSON and does not: a pointer, a page, another format."""

from pathlib import Path

_BEGINNINGS: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    (
        (b"version https://git-lfs", b"version https://hawser"),
        "is a Git LFS pointer, not the file itself",
        "Run git lfs pull where the base was cloned, and copy it again",
    ),
    (
        (b"<!doctype html", b"<html", b"<head"),
        "is an HTML page, not the file itself",
        "Fetch it again: what answered was a login or error page, or the page that shows the file",
    ),
    ((b"<?xml", b"<error"), "is an XML answer, not the file itself", "Fetch it again: a store refused it"),
    ((b"gguf",), "is a GGUF file", "Use the model's safetensors, in bfloat16 or FP8 blocks of 128x128"),
    (
        (b"pk\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04"),
        "is a pickle of PyTorch, which is never read",
        "Save the model with transformers' save_pretrained, which writes safetensors",
    ),
    ((b"\x1f\x8b",), "is compressed with gzip", "Unpack it"),
    ((b"\x28\xb5\x2f\xfd",), "is compressed with zstd", "Unpack it"),
)


def foreign_content(file: Path) -> tuple[str, str] | None:
    """What `file` is, by its first bytes, and what to do; None if it is nothing known, or is not there.

    Told of a link that leads nowhere, too: a Hugging Face cache copied without its blobs.
    """
    if file.is_symlink() and not file.exists():
        return (
            f"is a link to {file.readlink()}, which is not there",
            "Copy what links lead to as well (cp -rL): a Hugging Face cache keeps its files in blobs/",
        )
    try:
        with file.open("rb") as stream:
            beginning = stream.read(512)
    except OSError:
        return None
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for prefixes, problem, remedy in _BEGINNINGS:
        # Pickles begin with bytes that are no text: they are compared where the file begins.
        if text.startswith(prefixes) or beginning.lower().startswith(prefixes):
            return problem, remedy
    return None
