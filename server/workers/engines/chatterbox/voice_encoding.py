"""Makes a voice of a reference clip with upstream's own modules, step by step as `prepare_conditionals` does.

These modules are needed for nothing else, so they come apart from those that speak and can be let go afterwards. What
a good clip is, `clip_checks` says. Upstream: chatterbox-tts 0.1.7, `ChatterboxTurboTTS` and `S3Token2Mel.embed_ref`.
"""

import math
from hashlib import sha256
from pathlib import Path

import librosa
import numpy as np
import pyloudnorm
import torch
from chatterbox.models.s3gen.utils.mel import mel_spectrogram
from chatterbox.models.s3gen.xvector import CAMPPlus
from chatterbox.models.s3tokenizer import S3Tokenizer
from chatterbox.models.voice_encoder import VoiceEncoder as UpstreamVoiceEncoder
from numpy.typing import NDArray
from torchaudio.transforms import Resample

from server.workers.engines.chatterbox.checkpoint import S3GEN_FILE, fill
from server.workers.engines.chatterbox.conditionals import MAX_SPEECH_TOKENS, Conditionals

_RATE = 24_000  # Hz, of the mel
_TOKEN_RATE = 16_000  # Hz, of what the tokenizer and both encoders hear
_FLOW_SECONDS = 10
_T3_SECONDS = 15
_TARGET_LUFS = -27.0

_VOICE_FILE = "ve.safetensors"
_SAMPLED_BYTES = 65_536
_SAMPLES = 64


class VoiceEncoder:
    """Upstream's tokenizer, speaker encoder and voice encoder: 132 million parameters, on one device in float32."""

    def __init__(
        self,
        tokenizer: S3Tokenizer,
        speaker_encoder: CAMPPlus,
        voice_encoder: UpstreamVoiceEncoder,
        device: torch.device,
    ) -> None:
        """The modules with their weights; they are moved to `device`."""
        self._tokenizer = tokenizer.to(device).eval()
        self._speaker_encoder = speaker_encoder.to(device).eval()
        self._voice_encoder = voice_encoder.to(device).eval()
        self._device = device

    @classmethod
    def from_checkpoint(cls, folder: Path, device: torch.device) -> "VoiceEncoder":
        """The modules of the checkpoint in `folder`. Raises `OSError`; `RuntimeError` if a tensor is missing."""
        encoder = cls(
            S3Tokenizer("speech_tokenizer_v2_25hz"), CAMPPlus(memory_efficient=False), UpstreamVoiceEncoder(), device
        )
        for module, file, prefix in (
            (encoder._tokenizer, S3GEN_FILE, "tokenizer."),
            (encoder._speaker_encoder, S3GEN_FILE, "speaker_encoder."),
            (encoder._voice_encoder, _VOICE_FILE, ""),
        ):
            fill(module, folder / file, prefix, device, torch.float32, computed=("_mel_filters", "window"))
        return encoder

    @torch.no_grad()
    def encode(self, samples: NDArray[np.float32], rate: int) -> Conditionals:
        """The voice that speaks in `samples`, float32 mono `[n]` at `rate` Hz, more than 5 s of them."""
        at_24k = _normalized(librosa.resample(samples, orig_sr=rate, target_sr=_RATE), _RATE)
        at_16k = librosa.resample(at_24k, orig_sr=_RATE, target_sr=_TOKEN_RATE)
        speech_tokens, _ = self._tokenizer.forward([at_16k[: _T3_SECONDS * _TOKEN_RATE]], max_len=MAX_SPEECH_TOKENS)
        speaker = self._voice_encoder.embeds_from_wavs([at_16k], sample_rate=_TOKEN_RATE)

        reference = torch.from_numpy(at_24k[: _FLOW_SECONDS * _RATE])[None].to(self._device)
        # Not `at_16k`: for the flow upstream resamples anew, with another filter.
        reference_16k = Resample(_RATE, _TOKEN_RATE).to(self._device)(reference)
        mel = mel_spectrogram(reference)[0].T
        tokens, _ = self._tokenizer(reference_16k)
        pairs = min(tokens.shape[1], len(mel) // 2)  # the clip's end may make half a token
        return Conditionals(
            speaker_embedding=torch.from_numpy(speaker[0]).float().clone(),
            prompt_speech_tokens=speech_tokens[0].cpu().clone(),
            prompt_tokens=tokens[0, :pairs].cpu().clone(),
            prompt_mel=mel[: 2 * pairs].float().cpu().clone(),
            xvector=self._speaker_encoder.inference(reference_16k)[0].float().cpu().clone(),
        )


def weights_fingerprint(folder: Path) -> str:
    """16 hex digits that differ for other weights of the modules that make voices. It reads 10 MB. Raises `OSError`.

    The large file is sampled: its header and 64 places. Whether it is the right one, the model store says.
    """
    digest = sha256((folder / _VOICE_FILE).read_bytes())
    with (folder / S3GEN_FILE).open("rb") as file:
        size = file.seek(0, 2)
        digest.update(str(size).encode())
        for index in range(_SAMPLES):
            file.seek(size * index // _SAMPLES)
            digest.update(file.read(_SAMPLED_BYTES))
    return digest.hexdigest()[:16]


def _normalized(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """`samples` at -27 LUFS. With numpy 2 the gain would make them float64, which upstream's modules refuse."""
    gain = 10.0 ** ((_TARGET_LUFS - pyloudnorm.Meter(rate).integrated_loudness(samples)) / 20.0)
    return (samples * gain).astype(np.float32) if math.isfinite(gain) and gain > 0.0 else samples
