"""tiktoken.model, as Moonlight and Kimi-K2 have it: the tokenizer.json that is made of it, byte for byte."""

import inspect
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiktoken_ranks import SPECIAL, encode, learnt_ranks, write_tiktoken
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from finetune_trainer.contract.failure import DataError
from finetune_trainer.data.tokenizer import load_tokenizer
from finetune_trainer.prepare.description import check_description
from finetune_trainer.prepare.tiktoken_model import PATTERN, convert_tiktoken

CORPUS = (
    inspect.getsource(inspect)
    + "深度学习模型的微调需要数据。한국어 문장도 있습니다. "
    + "Ünïcödé Straße, it's WE'LL don't ÇA VA? 1234567 3.14159 \r\n\r\n\t x  y   \n  "
    + "Привет, мир! שלום עולם مرحبا नमस्ते 👩‍👩‍👧 e\u0301 ǅ ª ㎡ 々〆ヶ "
)
VOCABULARY = 2000


@pytest.fixture(scope="module")
def ranks() -> dict[bytes, int]:
    return learnt_ranks(CORPUS[:20_000] + CORPUS[-200:], PATTERN, 1200)


@pytest.fixture(scope="module")
def folder(ranks: dict[bytes, int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("moonlight")
    write_tiktoken(folder, ranks, vocabulary=VOCABULARY)
    convert_tiktoken(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_a_corpus_has_the_tokens_of_tiktoken(ranks: dict[bytes, int], tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(CORPUS, add_special_tokens=False).ids
    assert ids == encode(CORPUS, ranks, PATTERN)
    assert tokenizer.decode(ids, skip_special_tokens=False) == CORPUS


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    text=st.text(
        st.characters(exclude_categories=["Cs", "Cn"]) | st.sampled_from("aB '\r\n 的1"), max_size=60
    )
)
def test_any_text_has_the_tokens_of_tiktoken(
    ranks: dict[bytes, int], tokenizer: Tokenizer, text: str
) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert ids == encode(text, ranks, PATTERN)
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_special_tokens_follow_the_ranks(ranks: dict[bytes, int], tokenizer: Tokenizer) -> None:
    for number, content in enumerate(SPECIAL, start=len(ranks)):
        assert tokenizer.token_to_id(content) == number
        assert tokenizer.encode(f"a{content}b", add_special_tokens=False).ids[1] == number
    last = len(ranks) + 257
    assert tokenizer.token_to_id(f"<|reserved_token_{last}|>") == last
    assert tokenizer.get_vocab_size() == last + 1
    added = tokenizer.get_added_tokens_decoder()
    assert {token.content: token.special for token in added.values() if token.content in SPECIAL} == SPECIAL


def test_no_token_is_beyond_the_vocabulary(ranks: dict[bytes, int], tmp_path: Path) -> None:
    write_tiktoken(tmp_path, ranks, vocabulary=len(ranks) + 256)
    convert_tiktoken(tmp_path)
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).get_vocab_size() == len(ranks) + 256


def test_prepare_and_transformers_read_it(folder: Path, tmp_path: Path, ranks: dict[bytes, int]) -> None:
    check_description(folder)
    assert load_tokenizer(folder).eos_id == len(ranks) + 1
    # Of what is merged, transformers and vLLM find no code (converter merge/companions.py).
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["auto_map"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    theirs = AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=False)
    assert theirs("it's [EOS]", add_special_tokens=False)["input_ids"] == [
        *encode("it's ", ranks, PATTERN),
        len(ranks) + 1,
    ]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        pytest.param("tiktoken.model", "AA== 0\nx\n", "line 2 is no token", id="no rank"),
        pytest.param("tiktoken.model", "AA== 0\n", "not all of the 256 bytes", id="no bytes"),
        pytest.param("tiktoken.model", "version https://git-lfs", "line 1 is no token", id="LFS"),
        pytest.param("config.json", "{}", "vocab_size cannot be read", id="no vocabulary"),
        pytest.param(
            "tokenizer_config.json", '{"tokenizer_class": "QWenTokenizer"}', "as tiktoken only", id="others"
        ),
    ],
)
def test_what_is_not_of_these_rules_is_refused(
    ranks: dict[bytes, int], tmp_path: Path, file: str, content: str, message: str
) -> None:
    write_tiktoken(tmp_path, ranks, vocabulary=VOCABULARY)
    (tmp_path / file).write_text(content)
    with pytest.raises(DataError, match=message):
        check_description(tmp_path)
