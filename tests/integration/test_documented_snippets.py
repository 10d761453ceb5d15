"""README and the documents, pasted block by block as a first reader does.

Speech recognition and the voice are real, only the language model is a stand-in. Blocks for AWS: see `tests/cloud`.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from server.audio.wav import read_wav
from server.client.playout import is_audible
from server.client.transcripts import words
from tests.support import node_js
from tests.support.bedrock_standin import BedrockStandin
from tests.support.documents import PAGES, PROGRAMS, REPOSITORY, Block, blocks
from tests.support.in_thread import in_thread
from tests.support.openai_llm_standin import OpenAiStandin
from tests.support.pasted import Reader
from tests.support.ports import free_ports

QUESTION = "What is the capital city of France?"
CLIENTS = Path(__file__).parent / "node_clients"
EXAMPLE = REPOSITORY / "examples" / "node"
# The environment is the one that the tests run in; it is not made again.
PROGRAMS_HERE = {"make": f'#!/bin/sh\nexec {shutil.which("make")} --old-file=.venv/.base "$@"\n'}
ELSEWHERE = ("none", "cloud")
"""How the comment of a block begins that is not run here."""


def of(page: Path) -> list[Block]:
    """The blocks of a page that are run here."""
    return [
        block
        for block in blocks()
        if block.page == page and block.language in PROGRAMS and not block.note.startswith(ELSEWHERE)
    ]


@pytest.fixture
def reader(request: pytest.FixtureRequest, page: Path, tmp_path: Path, llm: OpenAiStandin) -> Iterator[Reader]:
    """Somebody with a checkout, with what the page says to copy, and with a node unless the page starts one."""
    port, http_port, worker_port = free_ports(3)
    if not any(block.note.startswith("until") for block in of(page)):
        port = int(urlsplit(request.getfixturevalue("node").websocket).port or 0)
    with in_thread(BedrockStandin()) as bedrock:
        variables = {
            "VOICE_LLM": f"openai:standin@{llm.url}",
            "VOICE_PORT": str(port),
            "VOICE_HTTP_PORT": str(http_port),
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": bedrock.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
        }
        replaced = {":9000": f":{port}", ":9001": f":{http_port}", ":50051": f":{worker_port}"}
        replaced |= {"--seconds 600": "--seconds 1 --turns 1", "--seconds 660": "--seconds 2"}  # of a recording
        someone = Reader(tmp_path, variables, replaced, PROGRAMS_HERE, page)
        node_js.install(CLIENTS)
        if page.parent != EXAMPLE:
            (someone.folder / "node_modules").symlink_to(CLIENTS / "node_modules")
        for name in ("question.wav", "answer.wav"):  # the answer is there from README's first call
            (someone.folder / name).symlink_to(REPOSITORY / "server" / "demo" / "question.wav")
        certificate = trustme.CA().issue_cert("localhost")
        certificate.private_key_pem.write_to_path(str(someone.folder / "key.pem"))
        certificate.cert_chain_pems[0].write_to_path(str(someone.folder / "cert.pem"))
        yield someone
        someone.close()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if of(page)], ids=lambda page: str(page.relative_to(REPOSITORY))
)
def test_each_block_of_a_page_works_as_pasted(reader: Reader, page: Path) -> None:
    for block in of(page):
        if not calls(block):
            reader.paste(block)
            continue
        sounds = [reader.folder / name for name in ("answer.wav", "heard.wav")]
        for sound in sounds:
            sound.unlink(missing_ok=True)
        output = reader.paste(block)
        assert words(said(output, "heard", "caller:")) == words(QUESTION), block.name
        assert words(said(output, "answered", "assistant:")) == ["you", "said", *words(QUESTION)], block.name
        for sound in sounds:
            assert not sound.exists() or is_audible(read_wav(sound)[0]), block.name


def calls(block: Block) -> bool:
    """Whether it says the bundled question to a node."""
    return block.language == "sh" and any(
        word in block.text for word in ("question.wav", "make run", "voicefleet demo")
    )


def said(output: str, *labels: str) -> str:
    """What a program printed after one of these labels; fails where it did not do so once."""
    (line,) = [line for line in output.splitlines() if line.startswith(labels)]
    return line.split(maxsplit=1)[1].removesuffix("(completed)")
