"""Saved voices: upstream's files are ours and ours are upstream's; wrong ones are refused by name."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from chatterbox.models.t3.modules.cond_enc import T3Cond
from chatterbox.tts_turbo import Conditionals as UpstreamConditionals

from server.workers.engines.chatterbox.conditionals import BadConditionals, Conditionals
from tests.support.voices import random_conditionals, same_voice


def upstream_file(**changes: Any) -> bytes:
    """A file as upstream saves it, with some entries replaced, those that are Ellipsis left out."""
    voice = random_conditionals()
    entries = {
        "speaker_emb": voice.speaker_embedding[None],
        "cond_prompt_speech_tokens": voice.prompt_speech_tokens[None],
        "prompt_token": voice.prompt_tokens[None],
        "prompt_token_len": torch.tensor([250]),
        "prompt_feat": voice.prompt_mel[None],
        "prompt_feat_len": None,
        "embedding": voice.xvector[None],
    } | changes
    kept = {name: value for name, value in entries.items() if value is not ...}
    t3 = {name: kept.pop(name) for name in ("speaker_emb", "cond_prompt_speech_tokens") if name in kept}
    buffer = io.BytesIO()
    torch.save({"t3": t3, "gen": kept}, buffer)
    return buffer.getvalue()


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    voice = random_conditionals()
    voice.save(tmp_path / "voice.pt")

    assert same_voice(Conditionals.load(tmp_path / "voice.pt"), voice)


def test_upstream_loads_what_is_saved(tmp_path: Path) -> None:
    voice = random_conditionals()
    voice.save(tmp_path / "voice.pt")

    upstream = UpstreamConditionals.load(tmp_path / "voice.pt").to("cpu")

    assert torch.equal(upstream.t3.speaker_emb[0], voice.speaker_embedding)
    assert torch.equal(upstream.t3.cond_prompt_speech_tokens[0], voice.prompt_speech_tokens)
    assert torch.equal(upstream.gen["prompt_token"][0], voice.prompt_tokens)
    assert int(upstream.gen["prompt_token_len"][0]) == len(voice.prompt_tokens)
    assert torch.equal(upstream.gen["prompt_feat"][0], voice.prompt_mel)
    assert torch.equal(upstream.gen["embedding"][0], voice.xvector)


def test_what_upstream_saves_is_loaded_even_after_it_has_spoken(tmp_path: Path) -> None:
    voice = random_conditionals()
    t3 = T3Cond(
        speaker_emb=voice.speaker_embedding[None],
        cond_prompt_speech_tokens=voice.prompt_speech_tokens[None],
        emotion_adv=0.5 * torch.ones(1, 1, 1),
    )
    gen = {
        "prompt_token": voice.prompt_tokens[None].float(),  # s3gen.py:212 casts the ids in place
        "prompt_token_len": torch.tensor([250.0]),
        "prompt_feat": voice.prompt_mel[None],
        "prompt_feat_len": None,
        "embedding": voice.xvector[None],
    }
    UpstreamConditionals(t3, gen).save(tmp_path / "conds.pt")

    loaded = Conditionals.load(tmp_path / "conds.pt")

    assert loaded.prompt_tokens.dtype == torch.int64
    assert same_voice(loaded, voice)


def test_ids_stay_whole_when_the_rest_is_of_half_width() -> None:
    voice = Conditionals.from_bytes(upstream_file(prompt_feat=torch.zeros(1, 500, 80, dtype=torch.bfloat16)), "x.pt")

    assert voice.prompt_mel.dtype == torch.float32
    assert torch.equal(voice.prompt_tokens, random_conditionals().prompt_tokens)


def test_an_odd_frame_at_the_end_has_no_token() -> None:
    voice = Conditionals.from_bytes(upstream_file(prompt_feat=torch.zeros(1, 499, 80)), "x.pt")

    assert len(voice.prompt_tokens) == 249
    assert voice.prompt_mel.shape == (498, 80)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"embedding": ...}, r"gen\.embedding is missing"),
        ({"speaker_emb": [1.0]}, r"t3\.speaker_emb is missing"),
        ({"speaker_emb": torch.zeros(1, 192)}, r"t3\.speaker_emb has shape \[1, 192\] where it should be \[1, 256\]"),
        ({"prompt_feat": torch.zeros(500, 80)}, r"gen\.prompt_feat has shape \[500, 80\].*\[1, any, 80\]"),
        ({"prompt_feat": torch.zeros(1, 100, 80)}, r"gen\.prompt_feat has 100 frames for 250 tokens"),
        ({"prompt_feat": torch.full((1, 500, 80), torch.nan)}, r"gen\.prompt_feat holds something other than finite"),
        ({"embedding": torch.zeros(1, 192, dtype=torch.int32)}, r"gen\.embedding holds something other than finite"),
        ({"prompt_token": torch.zeros(1, 251).long()}, r"gen\.prompt_token has shape \[1, 251\].*1 to 250"),
        ({"cond_prompt_speech_tokens": torch.zeros(1, 0).long()}, r"\[1, 0\].*1 to 375"),
        ({"prompt_token": torch.zeros(1, 250, dtype=torch.bfloat16)}, r"bfloat16, which does not hold ids exactly"),
        ({"prompt_token": torch.full((1, 250), 6561)}, r"ids that are not within 0 and 6560"),
        ({"prompt_token": torch.full((1, 250), 0.5)}, r"ids that are not within"),
    ],
)
def test_a_wrong_entry_is_named(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadConditionals, match=rf"^anna\.pt: {problem}|^anna\.pt: .*{problem}"):
        Conditionals.from_bytes(upstream_file(**changes), "anna.pt")


@pytest.mark.parametrize(
    "content",
    [b"", b"no file of tensors", upstream_file()[:5000], b"PK\x03\x04" + bytes(100)],
    ids=["empty", "text", "cut off", "no zip"],
)
def test_a_damaged_file_is_refused(content: bytes) -> None:
    with pytest.raises(BadConditionals, match=r"anna\.pt: is damaged"):
        Conditionals.from_bytes(content, "anna.pt")


def test_a_file_of_something_else_is_refused() -> None:
    buffer = io.BytesIO()
    torch.save([1, 2], buffer)

    with pytest.raises(BadConditionals, match="is missing"):
        Conditionals.from_bytes(buffer.getvalue(), "anna.pt")
