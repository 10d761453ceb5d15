"""Voices are made exactly as upstream makes them; shown on the real architecture with random weights."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from chatterbox.models.s3gen import S3Gen
from chatterbox.models.s3gen.utils.mel import mel_spectrogram
from chatterbox.models.s3gen.xvector import CAMPPlus
from chatterbox.models.s3tokenizer import S3Tokenizer
from chatterbox.models.voice_encoder import VoiceEncoder as UpstreamVoiceEncoder
from chatterbox.tts_turbo import ChatterboxTurboTTS, Conditionals
from safetensors.torch import save_file
from torch import nn

from server.workers.engines.chatterbox.clip_checks import read_clip
from server.workers.engines.chatterbox.voice_encoding import VoiceEncoder, weights_fingerprint
from tests.support.voices import audio_file, same_voice, speech

CPU = torch.device("cpu")


class Modules(SimpleNamespace):
    """Upstream's modules that make voices, with seeded random weights."""

    tokenizer: S3Tokenizer
    speaker_encoder: CAMPPlus
    voice_encoder: UpstreamVoiceEncoder


@pytest.fixture(scope="module")
def modules() -> Modules:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        modules = Modules(
            tokenizer=S3Tokenizer("speech_tokenizer_v2_25hz"),
            speaker_encoder=CAMPPlus(memory_efficient=False),
            voice_encoder=UpstreamVoiceEncoder(),
        )
    for module in vars(modules).values():
        module.eval().requires_grad_(False)
    return modules


@pytest.fixture(scope="module")
def encoder(modules: Modules) -> VoiceEncoder:
    return VoiceEncoder(modules.tokenizer, modules.speaker_encoder, modules.voice_encoder, CPU)


def upstream_conditionals(modules: Modules, clip: Path) -> Conditionals:
    """What upstream makes of the clip; of its model there are the modules that make voices and nothing else."""
    upstream = ChatterboxTurboTTS.__new__(ChatterboxTurboTTS)
    upstream.device = "cpu"
    upstream.t3 = SimpleNamespace(hp=SimpleNamespace(speech_cond_prompt_len=375))
    upstream.ve = modules.voice_encoder
    upstream.s3gen = S3Gen.__new__(S3Gen)
    nn.Module.__init__(upstream.s3gen)
    upstream.s3gen.tokenizer = modules.tokenizer
    upstream.s3gen.speaker_encoder = modules.speaker_encoder
    upstream.s3gen.mel_extractor = mel_spectrogram
    upstream.s3gen.flow = nn.Linear(1, 1)  # whose dtype is the model's
    normalize = upstream.norm_loudness
    # As it comes out with numpy 1, which upstream asks for.
    upstream.norm_loudness = lambda wav, sr: np.asarray(normalize(wav, sr), np.float32)
    upstream.prepare_conditionals(clip)
    return upstream.conds


@pytest.mark.parametrize(("seconds", "rate", "kind"), [(7.013, 16_000, "WAV"), (14.9, 48_000, "FLAC")])
def test_a_voice_is_the_one_that_upstream_makes(
    tmp_path: Path, modules: Modules, encoder: VoiceEncoder, seconds: float, rate: int, kind: str
) -> None:
    clip = tmp_path / "clip.wav"
    clip.write_bytes(audio_file(speech(seconds, rate), rate, kind))
    upstream = upstream_conditionals(modules, clip)
    t3, gen = upstream.t3, upstream.gen

    voice = encoder.encode(*read_clip(clip.read_bytes(), clip.name))

    assert torch.equal(voice.prompt_speech_tokens, t3.cond_prompt_speech_tokens[0])
    assert torch.equal(voice.speaker_embedding, t3.speaker_emb[0])
    assert torch.equal(voice.prompt_tokens, gen["prompt_token"][0])
    assert torch.equal(voice.prompt_mel, gen["prompt_feat"][0, : 2 * len(voice.prompt_tokens)])
    assert torch.equal(voice.xvector, gen["embedding"][0])
    assert len(gen["prompt_feat"][0]) - len(voice.prompt_mel) in (0, 1)
    assert len(set(voice.prompt_speech_tokens.tolist())) > 10
    assert len(voice.prompt_tokens) == min(250, int(seconds * 25))


def test_the_modules_are_found_in_a_checkpoint(tmp_path: Path, modules: Modules, encoder: VoiceEncoder) -> None:
    parts = {"tokenizer": modules.tokenizer, "speaker_encoder": modules.speaker_encoder}
    tensors = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
    del tensors["tokenizer._mel_filters"], tensors["tokenizer.window"]  # upstream leaves them out, too
    tensors["flow.input_embedding.weight"] = torch.zeros(3)
    save_file(tensors, tmp_path / "s3gen_meanflow.safetensors")
    save_file(modules.voice_encoder.state_dict(), tmp_path / "ve.safetensors")

    loaded = VoiceEncoder.from_checkpoint(tmp_path, CPU)

    assert same_voice(loaded.encode(speech(5.1), 24_000), encoder.encode(speech(5.1), 24_000))


def test_the_fingerprint_is_that_of_the_weights(tmp_path: Path) -> None:
    def fingerprint(voice: bytes, generator: bytes) -> str:
        (tmp_path / "ve.safetensors").write_bytes(voice)
        (tmp_path / "s3gen_meanflow.safetensors").write_bytes(generator)
        return weights_fingerprint(tmp_path)

    large = bytes(9_000_000)
    assert fingerprint(b"a", large) == fingerprint(b"a", large)
    assert len({fingerprint(b"a", large), fingerprint(b"b", large), fingerprint(b"a", large + b"x")}) == 3
    assert fingerprint(b"a", large[:5_000_000] + b"x" * 300_000 + large[5_300_000:]) != fingerprint(b"a", large)
