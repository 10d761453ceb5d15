"""What a voice is to Chatterbox Turbo, in memory and on disk, where it has upstream's own format (`conds.pt`).

Tensors lie on the CPU; the engine copies them to its device. Ids are integers whatever the model's dtype: in bfloat16
token 4299 would become 4288.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from server.errors import VoicefleetError

MAX_SPEECH_TOKENS = 375
"""For T3: 15 s at 25 Hz."""

MAX_PROMPT_TOKENS = 250
"""For the flow: 10 s at 25 Hz."""

_SPEECH_TOKENS = 6561  # ids of sounds; those from here on are marks
_EXACT_FLOATS = (torch.float32, torch.float64)  # in which every id is itself


class BadConditionals(VoicefleetError):
    """The file holds no conditionals that the model can speak with."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}; takes conditionals as chatterbox-tts saves them (Conditionals.save)")


@dataclass(frozen=True, slots=True, eq=False)
class Conditionals:
    """One voice. Two are the same if they are the same object: comparing tensors is of no use to anybody."""

    speaker_embedding: Tensor
    """float32 `[256]`, for T3."""
    prompt_speech_tokens: Tensor
    """int64 `[P]`, P <= 375, at 25 Hz: how the voice speaks, for T3."""
    prompt_tokens: Tensor
    """int64 `[p]`, p <= 250, at 25 Hz: the sounds of `prompt_mel`, for the flow."""
    prompt_mel: Tensor
    """float32 `[2p, 80]`, log-mel frames at 50 Hz, for the flow."""
    xvector: Tensor
    """float32 `[192]`, for the flow."""

    def save(self, path: Path) -> None:
        """Write the file that upstream's `Conditionals.load` reads. Raises `OSError`."""
        t3 = {
            "speaker_emb": self.speaker_embedding[None],
            "clap_emb": None,
            "cond_prompt_speech_tokens": self.prompt_speech_tokens[None],
            "cond_prompt_speech_emb": None,
            "emotion_adv": torch.full((1, 1, 1), 0.5),  # Turbo has no use for it; upstream's `to` wants a number
        }
        gen = {
            "prompt_token": self.prompt_tokens[None],
            "prompt_token_len": torch.tensor([len(self.prompt_tokens)]),
            "prompt_feat": self.prompt_mel[None],
            "prompt_feat_len": None,
            "embedding": self.xvector[None],
        }
        buffer = io.BytesIO()
        torch.save({"t3": t3, "gen": gen}, buffer)
        path.write_bytes(buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> "Conditionals":
        """Read what upstream or `save` wrote. Raises `BadConditionals`, `OSError`."""
        return cls.from_bytes(path.read_bytes(), path.name)

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> "Conditionals":
        """Conditionals from a file's content; `name` is for the error. Raises `BadConditionals`."""
        try:
            stored = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # damaged bytes can make unpickling raise nearly anything
            raise BadConditionals(name, "is damaged or no file of tensors") from error
        try:
            return _checked(stored)
        except ValueError as error:
            raise BadConditionals(name, str(error)) from None


def _checked(stored: Any) -> Conditionals:
    speech_tokens = _ids(stored, "t3", "cond_prompt_speech_tokens", MAX_SPEECH_TOKENS)
    tokens = _ids(stored, "gen", "prompt_token", MAX_PROMPT_TOKENS)
    mel = _floats(stored, "gen", "prompt_feat", (-1, 80))
    # Upstream keeps an odd last frame, which has no token; and refers to fewer tokens than it made if frames are short.
    paired = min(len(tokens), len(mel) // 2)
    if not paired or len(tokens) - paired > 1 or len(mel) - 2 * paired > 1:
        raise ValueError(f"gen.prompt_feat has {len(mel)} frames for {len(tokens)} tokens; there are two to a token")
    return Conditionals(
        speaker_embedding=_floats(stored, "t3", "speaker_emb", (256,)),
        prompt_speech_tokens=speech_tokens,
        prompt_tokens=tokens[:paired],
        prompt_mel=mel[: 2 * paired],
        xvector=_floats(stored, "gen", "embedding", (192,)),
    )


def _tensor(stored: Any, part: str, key: str) -> Tensor:
    tensor = stored.get(part, {}).get(key) if isinstance(stored, dict) else None
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{part}.{key} is missing")  # noqa: TRY004 # to the caller it is a wrong value
    return tensor


def _floats(stored: Any, part: str, key: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor in float32, its batch of one taken off; -1 in `shape` stands for any size."""
    tensor = _tensor(stored, part, key)
    wanted = (1, *shape)
    if tensor.dim() != len(wanted) or any(got != size != -1 for got, size in zip(tensor.shape, wanted, strict=True)):
        takes = ", ".join("any" if size == -1 else str(size) for size in wanted)
        raise ValueError(f"{part}.{key} has shape {list(tensor.shape)} where it should be [{takes}]")
    if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{part}.{key} holds something other than finite floats")
    return tensor[0].float().contiguous()


def _ids(stored: Any, part: str, key: str, most: int) -> Tensor:
    """Speech tokens in int64. Upstream turns them into floats when it speaks; those of full width are still exact."""
    tensor = _tensor(stored, part, key)
    if tensor.dim() != 2 or len(tensor) != 1 or not 0 < tensor.shape[1] <= most:
        raise ValueError(f"{part}.{key} has shape {list(tensor.shape)} where it should be [1, 1 to {most}]")
    if tensor.dtype == torch.bool or (tensor.is_floating_point() and tensor.dtype not in _EXACT_FLOATS):
        raise ValueError(f"{part}.{key} is {tensor.dtype}, which does not hold ids exactly")
    ids = tensor[0].long()
    if not bool(((ids == tensor[0]) & (ids >= 0) & (ids < _SPEECH_TOKENS)).all()):
        raise ValueError(f"{part}.{key} holds ids that are not within 0 and {_SPEECH_TOKENS - 1}")
    return ids.contiguous()
