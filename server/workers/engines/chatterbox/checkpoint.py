"""The weights: upstream's modules, from the files of a checkpoint or, for tests and benchmarks, seeded random ones.

Only what speaking needs is loaded; the modules that make a voice of a clip come apart, when one is to be made.
Upstream: chatterbox-tts 0.1.7, `ChatterboxTurboTTS.from_local`.
"""

import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from chatterbox.models.s3gen.configs import CFM_PARAMS
from chatterbox.models.s3gen.decoder import ConditionalDecoder
from chatterbox.models.s3gen.f0_predictor import ConvRNNF0Predictor
from chatterbox.models.s3gen.flow import CausalMaskedDiffWithXvec
from chatterbox.models.s3gen.flow_matching import CausalConditionalCFM
from chatterbox.models.s3gen.hifigan import HiFTGenerator
from chatterbox.models.s3gen.transformer.upsample_encoder import UpsampleConformerEncoder
from chatterbox.models.t3 import T3
from chatterbox.models.t3.llama_configs import LLAMA_CONFIGS
from chatterbox.models.t3.modules.t3_config import T3Config
from safetensors import safe_open
from torch import nn
from torch.nn.utils import parametrize
from transformers import AutoTokenizer

from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.speech_tokens import SPEECH_TOKENS, STOP_TOKEN, TOKEN_RATE

SAMPLE_RATE = 24_000
"""Of the samples that the vocoder makes."""

T3_FILE = "t3_turbo_v1.safetensors"
S3GEN_FILE = "s3gen_meanflow.safetensors"


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of the model. What is not named here is the same in every shape."""

    layers: int = 24
    width: int = 1024
    heads: int = 16
    text_vocabulary: int = 50_276
    encoder_blocks: int = 6
    encoder_feed_forward: int = 2048
    estimator_channels: int = 256
    estimator_blocks: int = 4
    estimator_stages: int = 12
    vocoder_channels: int = 512
    f0_channels: int = 512


FULL = Shape()
"""Chatterbox Turbo as it was trained: 452 million parameters that speak."""

SMALL = Shape(
    layers=3,
    width=128,
    heads=2,
    text_vocabulary=1024,
    encoder_blocks=1,
    encoder_feed_forward=128,
    estimator_channels=64,
    estimator_blocks=1,
    estimator_stages=1,
    vocoder_channels=64,
    f0_channels=32,
)
"""The same architecture, small enough to run in real time on one core. It was never trained."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The modules, in evaluation mode on one device, and the tokenizer of the text."""

    t3: T3
    flow: CausalMaskedDiffWithXvec
    vocoder: HiFTGenerator
    tokenize: Callable[[str], list[int]]


@dataclass(frozen=True, slots=True)
class Precision:
    """The dtypes of the weights and of what is computed with them."""

    t3: torch.dtype
    flow: torch.dtype
    vocoder: torch.dtype = torch.float32  # the source's phase runs over thousands of samples

    @classmethod
    def best(cls, device: torch.device) -> "Precision":
        """Half of float32's bytes where the device is fast with them; on a cpu it is not."""
        if device.type != "cuda":
            return cls(torch.float32, torch.float32)
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)  # a T4 would emulate it, at a fraction of fp16
        return cls(torch.bfloat16 if bf16 else torch.float16, torch.float16)


def load_checkpoint(folder: Path, device: torch.device, precision: Precision) -> Checkpoint:
    """The checkpoint in `folder`, laid out as upstream's. Raises `OSError`; `RuntimeError` if a tensor is missing."""
    with torch.device("meta"):
        t3, flow, vocoder = _modules(FULL)
    fill(t3, folder / T3_FILE, "", device, precision.t3)
    fill(flow, folder / S3GEN_FILE, "flow.", device, precision.flow)
    fill(vocoder, folder / S3GEN_FILE, "mel2wav.", device, precision.vocoder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return _ready(t3, flow, vocoder, lambda text: list(tokenizer(text).input_ids))


def random_checkpoint(shape: Shape, device: torch.device, precision: Precision, seed: int = 0) -> Checkpoint:
    """Weights that were never trained: right for speed and for comparing one way to compute with another.

    So that either means something, logits are wide apart, the stop token is never drawn (the text's length decides) and
    the voice is voiced. It speaks noise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        t3, flow, vocoder = _modules(shape)
        with torch.no_grad():
            t3.speech_head.weight.mul_(8.0)
            t3.speech_head.bias[STOP_TOKEN] = -1e9
            vocoder.f0_predictor.classifier.weight.mul_(300.0)
            vocoder.f0_predictor.classifier.bias.fill_(150.0)
            for downsampling in vocoder.source_downs:
                downsampling.weight.mul_(5.0)
    t3.to(device, precision.t3)
    flow.to(device, precision.flow)
    vocoder.to(device, precision.vocoder)

    def tokenize(text: str) -> list[int]:
        """About as many tokens as the real tokenizer gives for English."""
        four = (text[start : start + 4].encode() for start in range(0, len(text), 4))
        return [zlib.crc32(letters) % shape.text_vocabulary for letters in four]

    return _ready(t3, flow, vocoder, tokenize)


def random_voice(seconds: float) -> Conditionals:
    """A voice of nobody's for such weights: so long for the flow, half as long again for the decoder, as clips are."""
    generator = torch.Generator().manual_seed(0)
    tokens = round(seconds * TOKEN_RATE)
    return Conditionals(
        speaker_embedding=torch.randn(256, generator=generator),
        prompt_speech_tokens=torch.randint(SPEECH_TOKENS, (tokens * 3 // 2,), generator=generator),
        prompt_tokens=torch.randint(SPEECH_TOKENS, (tokens,), generator=generator),
        prompt_mel=torch.randn(2 * tokens, 80, generator=generator),
        xvector=torch.randn(192, generator=generator),
    )


def _modules(shape: Shape) -> tuple[T3, CausalMaskedDiffWithXvec, HiFTGenerator]:
    return _t3(shape), _flow(shape), _vocoder(shape)


def _t3(shape: Shape) -> T3:
    config = T3Config(text_tokens_dict_size=shape.text_vocabulary)
    config.llama_config_name = f"voicefleet_{shape.layers}_{shape.width}_{shape.heads}"
    # Upstream looks its configurations up by name.
    LLAMA_CONFIGS[config.llama_config_name] = LLAMA_CONFIGS["GPT2_medium"] | {
        "n_layer": shape.layers,
        "n_embd": shape.width,
        "hidden_size": shape.width,
        "n_head": shape.heads,
        "vocab_size": 8,  # never looked up: the embeddings are T3's own
        "bos_token_id": None,
        "eos_token_id": None,
    }
    config.speech_tokens_dict_size = SPEECH_TOKENS + 2
    config.input_pos_emb = None
    config.speech_cond_prompt_len = 375
    config.use_perceiver_resampler = False
    config.emotion_adv = False
    t3 = T3(config)
    del t3.tfmr.wte, t3.text_head  # of no use in speaking
    return t3


def _flow(shape: Shape) -> CausalMaskedDiffWithXvec:
    encoder = UpsampleConformerEncoder(
        output_size=512,
        attention_heads=8,
        linear_units=shape.encoder_feed_forward,
        num_blocks=shape.encoder_blocks,
        normalize_before=True,
        input_layer="linear",
        pos_enc_layer_type="rel_pos_espnet",
        selfattention_layer_type="rel_selfattn",
        input_size=512,
        use_cnn_module=False,
        macaron_style=False,
    )
    estimator = ConditionalDecoder(
        in_channels=320,
        out_channels=80,
        causal=True,
        channels=[shape.estimator_channels],
        attention_head_dim=64,
        n_blocks=shape.estimator_blocks,
        num_mid_blocks=shape.estimator_stages,
        num_heads=8,
        act_fn="gelu",
        meanflow=True,
    )
    decoder = CausalConditionalCFM(spk_emb_dim=80, cfm_params=CFM_PARAMS, estimator=estimator)
    return CausalMaskedDiffWithXvec(encoder=encoder, decoder=decoder)


def _vocoder(shape: Shape) -> HiFTGenerator:
    return HiFTGenerator(
        base_channels=shape.vocoder_channels,
        sampling_rate=SAMPLE_RATE,
        upsample_rates=[8, 5, 3],
        upsample_kernel_sizes=[16, 11, 7],
        source_resblock_kernel_sizes=[7, 7, 11],
        source_resblock_dilation_sizes=[[1, 3, 5], [1, 3, 5], [1, 3, 5]],
        f0_predictor=ConvRNNF0Predictor(cond_channels=shape.f0_channels),
    )


def fill(
    module: nn.Module,
    file: Path,
    prefix: str,
    device: torch.device,
    dtype: torch.dtype,
    computed: Collection[str] = (),
) -> None:
    """Give `module` the tensors that `file` has under `prefix`, straight to the device and dtype.

    The file is larger than what is kept of it. What the module has `computed` by itself may lack. Raises `OSError`;
    `RuntimeError` if a tensor is missing.
    """
    wanted = module.state_dict()
    tensors = {name: tensor for name, tensor in wanted.items() if name in computed}
    with safe_open(file, framework="pt", device=str(device)) as stored:
        for name in stored.keys():  # noqa: SIM118 # it is no mapping
            own_name = name.removeprefix(prefix)
            if name.startswith(prefix) and own_name in wanted:
                tensor = stored.get_tensor(name)
                tensors[own_name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    # Not always assigned: an LSTM goes on with the tensors it was made with.
    module.load_state_dict(tensors, strict=True, assign=any(tensor.is_meta for tensor in wanted.values()))


def _ready(
    t3: T3, flow: CausalMaskedDiffWithXvec, vocoder: HiFTGenerator, tokenize: Callable[[str], list[int]]
) -> Checkpoint:
    for module in (t3, flow, vocoder):
        module.eval().requires_grad_(False)
    for module in vocoder.modules():
        if isinstance(module, nn.Conv1d):  # upstream's strides and paddings are numpy's, where Dynamo breaks the graph
            module.stride = tuple(int(step) for step in module.stride)
            module.padding = tuple(int(width) for width in module.padding)
        if parametrize.is_parametrized(module, "weight"):  # upstream's own remove_weight_norm raises
            parametrize.remove_parametrizations(module, "weight")
    return Checkpoint(t3, flow, vocoder, tokenize)
