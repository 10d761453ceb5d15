"""Whatever a model's server answers, the call goes on, its answer ends, and another call is served meanwhile."""

import json
from collections.abc import Iterable
from itertools import chain, repeat
from typing import Any

import pytest

from tests.support.live_call import live_call, serves
from tests.support.node import NodeProcess
from tests.support.openai_llm_standin import OpenAiStandin, Redirect, Request, Verbatim, last_text

SECONDS = 20.0  # for what takes parts of one; the text that went back and forth took minutes


def event(choice: Any, **more: Any) -> bytes:
    return f"data: {json.dumps({'choices': [choice], **more})}\n\n".encode()


def words(text: str) -> bytes:
    return event({"index": 0, "delta": {"content": text}})


STOP = event({"index": 0, "delta": {}, "finish_reason": "stop"}) + b"data: [DONE]\n\n"


def whole(*texts: str) -> Iterable[bytes]:
    return chain(map(words, texts), [STOP])


def wild(request: Request) -> Any:
    answers: dict[str, Any] = {
        "blanks": Verbatim(whole(*[" "] * 5000)),
        "blanks without end": Verbatim(repeat(words(" " * 500))),
        "a a a": Verbatim(repeat(words("a " * 500))),
        "brackets": Verbatim(repeat(words("[" * 500))),
        "one word": Verbatim(repeat(words("a" * 500))),
        "thoughts": Verbatim(repeat(event({"delta": {"reasoning_content": "Hm. " * 5000}}))),
        "deep": Verbatim([words("Hi."), b"data: " + b"[" * 100_000 + b"\n\n"]),
        "no utf-8": Verbatim([words("Hi."), b"data: \xff\xfe\n\n"]),
        "usage": Verbatim([words("Hi."), event({}, usage={"prompt_tokens": 10**400, "completion_tokens": -1}), STOP]),
        "gzip": Verbatim([b"\x1f\x8b" * 1000], "gzip"),
        "elsewhere": Redirect(307, "http://127.0.0.1:9/v1"),
    }
    return answers.get(last_text(request), f"You said: {last_text(request)}")


@pytest.mark.parametrize("modality", ["text", "audio"])
@pytest.mark.parametrize(
    ("asked", "status", "why"),
    [
        ("blanks", "failed", "hidden_answer"),
        ("blanks without end", "incomplete", "max_output_tokens"),
        ("thoughts", "incomplete", "max_output_tokens"),
        ("deep", "completed", None),  # by the rest, for which the model is asked
        ("no utf-8", "completed", None),
        ("usage", "completed", None),
        ("gzip", "failed", "invalid_request"),
        ("elsewhere", "failed", "invalid_request"),
    ],
)
async def test_a_wild_answer_ends_and_the_call_goes_on(
    node: NodeProcess, answers: OpenAiStandin, modality: str, asked: str, status: str, why: str | None
) -> None:
    answers.answer = wild
    async with live_call(node.websocket, patience=SECONDS) as call:
        response = await call.turn(asked, output_modalities=[modality])
        details = response["status_details"] or {}
        assert (response["status"], details.get("reason") or details.get("error", {}).get("code")) == (status, why)
        assert 0 <= response["usage"]["total_tokens"] < 10**9
        assert (await call.ask("and now?")).endswith("and now?")


@pytest.mark.parametrize("asked", ["a a a", "brackets", "one word"])
async def test_text_without_end_holds_up_nobody_else(node: NodeProcess, answers: OpenAiStandin, asked: str) -> None:
    answers.answer = wild
    async with live_call(node.websocket, patience=SECONDS) as call:
        await call.type(asked)
        assert await serves(node.websocket, patience=SECONDS)
        await call.send("response.cancel")
        assert (await call.until("response.done"))["response"]["status"] in ("cancelled", "failed", "incomplete")
