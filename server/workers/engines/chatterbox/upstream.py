"""Upstream's own `ChatterboxTurboTTS` around a checkpoint's modules: what the engine is compared with.

Tests compare what is said, the benchmark how fast. The engine itself never uses it.
"""

import contextlib
import io
from collections.abc import Iterator

import torch
from chatterbox.models.s3gen import S3Gen
from chatterbox.models.t3.modules.cond_enc import T3Cond
from chatterbox.tts_turbo import ChatterboxTurboTTS
from chatterbox.tts_turbo import Conditionals as UpstreamConditionals
from torch import nn

from server.workers.engines.chatterbox.checkpoint import Checkpoint
from server.workers.engines.chatterbox.conditionals import Conditionals


class _Tokens(dict[str, torch.Tensor]):
    """What upstream expects a tokenizer to give."""

    @property
    def input_ids(self) -> torch.Tensor:
        return self["input_ids"]


class _Unmarked:
    def apply_watermark(self, samples: object, sample_rate: int) -> object:
        return samples


def upstream_tts(checkpoint: Checkpoint, voice: Conditionals) -> ChatterboxTurboTTS:
    """Upstream's class with these modules and this voice, and without a watermark."""
    device = checkpoint.t3.device
    s3gen = S3Gen.__new__(S3Gen)  # its constructor makes 136 million parameters that only new voices need
    nn.Module.__init__(s3gen)
    s3gen.tokenizer = nn.Linear(1, 1, device=device)  # the place where upstream looks up its device
    s3gen.flow, s3gen.mel2wav, s3gen.meanflow = checkpoint.flow, checkpoint.vocoder, True
    mute = torch.zeros(480)
    s3gen.trim_fade = torch.cat([mute, (torch.cos(torch.linspace(torch.pi, 0, len(mute))) + 1) / 2]).to(device)
    tts = ChatterboxTurboTTS.__new__(ChatterboxTurboTTS)
    tts.sr, tts.device, tts.t3, tts.s3gen = 24_000, device, checkpoint.t3, s3gen.eval()
    tts.watermarker = _Unmarked()
    tts.tokenizer = lambda text, **_: _Tokens(input_ids=torch.tensor([checkpoint.tokenize(text)]))
    condition = T3Cond(
        speaker_emb=voice.speaker_embedding[None], cond_prompt_speech_tokens=voice.prompt_speech_tokens[None]
    )
    prompt = {
        "prompt_token": voice.prompt_tokens[None],
        "prompt_token_len": torch.tensor([len(voice.prompt_tokens)]),
        "prompt_feat": voice.prompt_mel[None],
        "prompt_feat_len": None,
        "embedding": voice.xvector[None],
    }
    tts.conds = UpstreamConditionals(condition, prompt).to(device)
    return tts


@contextlib.contextmanager
def speaking_so_long(tts: ChatterboxTurboTTS, speech_tokens: int) -> Iterator[None]:
    """Let `tts.generate` draw so many tokens at most, and keep its progress bars to itself."""
    draw = tts.t3.inference_turbo
    tts.t3.inference_turbo = lambda **options: draw(**options, max_gen_len=speech_tokens - 1)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            yield
        finally:
            del tts.t3.inference_turbo
