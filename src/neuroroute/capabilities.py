"""What a model can do, as far as its id tells: a table of families and sizes, for servers that do not say."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

Capability: TypeAlias = Literal["tool_use", "vision", "reasoning", "embedding", "chat", "code"]
"""What a model can do: call tools, see images, think before it answers, embed texts, chat, write code."""

CAPABILITIES: tuple[Capability, ...] = get_args(Capability)


class _Family(NamedTuple):
    ids: re.Pattern[str]
    can: frozenset[Capability]
    at_least: float = 0.0
    """Billions of parameters from which on it holds; ids that tell no size count as large enough."""


_TOOLS: Final = "tool_use"
_SEES: Final = "vision"
_THINKS: Final = "reasoning"
_CODES: Final = "code"


def _family(ids: str, *can: Capability, at_least: float = 0.0) -> _Family:
    return _Family(re.compile(rf"(?<![a-z0-9]){ids}"), frozenset(can), at_least)


_NOT_FOR_CHAT = (
    _family(r"rerank"),
    _family(r"embed|bge-|e5-|gte-|mxbai-|all-minilm|paraphrase-|jina-clip|sentence-t5", "embedding"),
)  # fmt: skip
"""The first that matches tells all: these do one thing."""

_FAMILIES = (
    # Meta. The specification: ids of Llama 3 are tool_use.
    _family(r"(?:meta-)?llama-?[34]", _TOOLS),
    _family(r"(?:meta-)?llama-?3\.2(?=.*vision|-(?:11|90)b)|(?:meta-)?llama-?4|llava|bakllava", _SEES),
    _family(r"code-?llama", _CODES),
    # Mistral. The specification: ids of Mistral are tool_use.
    _family(r"mistral|mixtral|ministral|magistral|devstral|pixtral", _TOOLS),
    _family(r"pixtral|ministral-3|mistral-small-(?:3\.[1-9]|[4-9]|25(?:0[3-9]|1)|26)|mistral-medium-3|mistral-large-3"
            r"|devstral-small-(?:2-|2512)|magistral-small-(?:1\.2|25(?:09|1))", _SEES),
    _family(r"magistral", _THINKS),
    _family(r"devstral|codestral", _CODES),
    # Anthropic, behind a proxy that speaks as LM Studio does. The specification: ids of Claude are tool_use.
    _family(r"claude", _TOOLS, _CODES),
    _family(r"claude-(?:3|opus|sonnet|haiku)", _SEES),
    _family(r"claude-(?:3-7|3\.7|opus-[4-9]|sonnet-[4-9]|haiku-[4-9])", _THINKS),
    # Qwen
    _family(r"qwen-?(?:2\.5|[3-9](?![\d.]*b))", _TOOLS),
    _family(r"qwen-?3(?!\.\d|-?coder|-?next|.*instruct|.*2507|.*omni)|qwen-?3\.[5-9]|qwq|qvq", _THINKS),
    _family(r"qwq", _TOOLS),
    _family(r"qwen[0-9.-]*-?vl|qwen-?[0-9.]+-?omni|qwen-?3\.[5-9]|qvq", _SEES),
    _family(r"qwen-?[0-9.]*-?coder|codeqwen", _CODES),
    # Google
    _family(r"gemma-?3(?!n)", _SEES, at_least=4),
    _family(r"gemma-?3n|gemma-?4|paligemma|medgemma(?!.*text)|translategemma", _SEES),
    _family(r"gemma-?4|functiongemma", _TOOLS),
    _family(r"gemma-?4", _THINKS),
    _family(r"codegemma", _CODES),
    # OpenAI
    _family(r"gpt-oss", _TOOLS, _THINKS),
    # Microsoft
    _family(r"phi-?4-?mini(?!.*reasoning)", _TOOLS),
    _family(r"phi-?(?:4-?multimodal|3(?:\.5)?-?vision)", _SEES),
    _family(r"phi-?4.*reasoning", _THINKS),
    # DeepSeek
    _family(r"deepseek-?(?:v(?:2\.5|[3-9])|r1-0528(?!.*qwen))", _TOOLS),
    _family(r"deepseek-?(?:r1|v3\.[1-9])", _THINKS),
    _family(r"deepseek-?(?:vl|ocr)", _SEES),
    _family(r"deepseek-?coder", _CODES),
    # IBM, NVIDIA, Cohere, Nous
    _family(r"granite(?!-?(?:vision|embed|guardian|docling))-?[34]", _TOOLS),
    _family(r"granite-?(?:vision|docling)|granite-?[0-9.]+-?vision", _SEES),
    _family(r"granite-?[0-9.]*.*code", _CODES),
    _family(r"nemotron", _TOOLS),
    _family(r"nemotron-?(?:nano|3|super|ultra)", _THINKS),
    _family(r"c4ai-|command-?[ra]|aya-expanse", _TOOLS),
    _family(r"(?:command-?a|aya)-?vision", _SEES),
    _family(r"(?:nous-)?hermes-?(?:2-?pro|[34])", _TOOLS),
    # Zhipu, Moonshot, MiniMax, Liquid, Hugging Face and others
    _family(r"glm-?(?:4|5)|kimi-?k2|minimax-?m", _TOOLS),
    _family(r"glm-?(?:4\.[5-9]|5|z1)|kimi-?k2.*thinking|minimax-?m", _THINKS),
    _family(r"glm-?4(?:\.\d)?v|glm-?4\.\d-?v|kimi-?vl|kimi-?k2\.[5-9]", _SEES),
    _family(r"lfm-?2(?!-?vl)", _TOOLS),
    _family(r"lfm-?2(?:\.5)?-?vl|smolvlm|moondream|minicpm-?v|minicpm-?o|internvl|idefics|cogvlm|molmo|ui-tars|gui-owl"
            r"|olmocr|mimo-?vl", _SEES),
    _family(r"smollm-?3|seed-oss|ernie-?4\.5.*thinking|olmo-?3.*think|lfm.*thinking|exaone-?(?:deep|4)|mimo|aya.*think"
            r"|skywork-?or1|openthinker|marco-?o1|(?<!non-)(?:thinking|reasoning)(?![a-z])", _THINKS),
    _family(r"smollm-?3|seed-oss|exaone-?4|functionary|firefunction|xlam|watt-tool|toolace|jamba|internlm-?3|hunyuan",
            _TOOLS),
    _family(r"starcoder|stable-code|replit-code|wizardcoder|opencoder|seed-?coder|yi-?coder|coder", _CODES),
)  # fmt: skip
"""All that match add up."""

_SIZE = re.compile(r"(?<![a-z0-9.])(?:e)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")


@lru_cache(maxsize=1024)
def detected(model_id: str) -> frozenset[Capability]:
    """What a model of this id can do, by its family and size; a name of no known family can chat.

    Args:
        model_id: a key, with or without its publisher, in any case; ``_`` and spaces count as ``-``.
    """
    name = re.sub(r"[_ ]", "-", model_id.casefold())
    for family in _NOT_FOR_CHAT:
        if family.ids.search(name):
            return family.can
    size = billions(name)
    found = (
        family.can for family in _FAMILIES if family.ids.search(name) and (size is None or size >= family.at_least)
    )
    return frozenset[Capability](("chat",)).union(*found)


def billions(model_id: str) -> float | None:
    """Billions of parameters that an id tells of: 0.27 of ``gemma-3-270m``, 30 of ``qwen3-30b-a3b``; None: of none."""
    found = _SIZE.search(model_id.casefold())
    return None if found is None else float(found[1]) / (1 if found[2] == "b" else 1000)
