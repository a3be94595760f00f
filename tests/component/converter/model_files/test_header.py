"""The header reader takes any bytes: a header, or HeaderError, and never more memory than a few headers."""

import io
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_converter.model_files.dtypes import BITS
from finetune_converter.model_files.header import MAX_HEADER_BYTES, Header, HeaderError, parse_header
from finetune_converter.model_files.header_bytes import TensorSpec, encode_header


def parse(raw: bytes) -> Header:
    file = io.BytesIO(raw)
    return parse_header(file.read(8), len(raw), file.read)


def file_of(content: object, data: bytes = b"") -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(
    begin: int, end: int, shape: list[object] | None = None, dtype: object = "U8"
) -> dict[str, object]:
    return {
        "dtype": dtype,
        "shape": [end - begin] if shape is None else shape,
        "data_offsets": [begin, end],
    }


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        pytest.param(b"", "too few", id="empty"),
        pytest.param(b"\xff" * 8, "limit", id="length of 2^64"),
        pytest.param((MAX_HEADER_BYTES + 1).to_bytes(8, "little"), "limit", id="length over the limit"),
        pytest.param((100).to_bytes(8, "little") + b"{}", "truncated", id="shorter than its header"),
        pytest.param(file_of(b"{"), "not JSON", id="half an object"),
        pytest.param(file_of(b"[" * 100_000), "nested", id="nested too deep"),
        pytest.param(file_of(b"[]"), "not a JSON object", id="a list"),
        pytest.param(file_of(b'{"a":1,"a":1}'), "'a'", id="a key twice"),
        pytest.param(file_of(b"\xff\xff"), "not JSON", id="not UTF-8"),
        pytest.param(file_of(b'{"a":NaN}'), "NaN", id="NaN"),
        pytest.param(file_of(b'{"a":' + b"9" * 5000 + b"}"), "not JSON", id="a number of 5000 digits"),
        pytest.param(file_of({"a": tensor(0, 4, dtype="U7")}, b"x" * 4), "unknown dtype", id="unknown dtype"),
        pytest.param(file_of({"a": tensor(0, 4, dtype=["U8"])}, b"x" * 4), "unknown dtype", id="no dtype"),
        pytest.param(file_of({"a": tensor(0, 4, [5])}, b"x" * 4), "'a'", id="shape and bytes disagree"),
        pytest.param(file_of({"a": tensor(0, 4, [-4])}, b"x" * 4), "'a'", id="a negative size"),
        pytest.param(file_of({"a": tensor(0, 1, [True])}, b"x"), "'a'", id="true as a size"),
        pytest.param(file_of({"a": tensor(4, 0, [4])}, b"x" * 4), "'a'", id="end before begin"),
        pytest.param(file_of({"a": tensor(0, 4)}, b"x" * 3), "'a'", id="truncated data"),
        pytest.param(file_of({"a": tensor(0, 4), "b": tensor(2, 6)}, b"x" * 6), "'b'", id="overlap"),
        pytest.param(file_of({"a": tensor(0, 4), "b": tensor(5, 6)}, b"x" * 6), "'b'", id="hole"),
        pytest.param(file_of({"a": tensor(0, 4)}, b"x" * 5), "1 byte", id="bytes to spare"),
        pytest.param(file_of({"__metadata__": {"a": 1}}), "__metadata__", id="metadata that is no text"),
    ],
)
def test_refuses(raw: bytes, says: str) -> None:
    with pytest.raises(HeaderError, match=r".") as caught:
        parse(raw)
    assert says in str(caught.value)


@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    with suppress(HeaderError):
        assert parse(raw).file_bytes == len(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([*BITS]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*BITS]) | json_values,
        "shape": st.lists(st.integers(-1, 5), max_size=3) | json_values,
        "data_offsets": st.lists(st.integers(-1, 40), min_size=2, max_size=2) | json_values,
    }
)


@given(st.dictionaries(st.text(max_size=8), entries | json_values, max_size=4), st.binary(max_size=40))
def test_any_json(content: dict[str, object], data: bytes) -> None:
    try:
        header = parse(file_of(content, data))
    except HeaderError:
        return
    assert sum(entry.nbytes for entry in header.tensors.values()) == len(data)


specs = st.builds(
    TensorSpec,
    name=st.text(min_size=1, max_size=20).filter(lambda name: name != "__metadata__"),
    dtype=st.sampled_from([name for name, bits in BITS.items() if bits >= 8]),
    shape=st.lists(st.integers(0, 5), max_size=4).map(tuple),
)


@given(
    st.lists(specs, max_size=6, unique_by=lambda spec: spec.name),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
def test_reads_what_it_writes(tensors: list[TensorSpec], metadata: dict[str, str]) -> None:
    raw = encode_header(tensors, metadata) + b"\0" * sum(spec.nbytes for spec in tensors)
    header = parse(raw)
    assert header.metadata == metadata
    read = {entry.name: (entry.dtype, entry.shape) for entry in header.tensors.values()}
    assert read == {spec.name: (spec.dtype, spec.shape) for spec in tensors}
