"""The verb that makes vectors of texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, Unpack, cast

from neuroroute.countverbs import CountVerbs
from neuroroute.details import ModelDetails, same_model
from neuroroute.errors import (
    LMStudioError,
    ModelContextLengthError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelUnavailableError,
)
from neuroroute.jsontypes import is_series, is_text
from neuroroute.messages import UserMessage
from neuroroute.options import DEFAULTS, EmbedOptions, checked
from neuroroute.requests import ChatRequest
from neuroroute.responses import Embeddings, Note, TokenUsage, estimate_tokens
from neuroroute.selection import AUTO
from neuroroute.wire.embeddings import EMBEDDINGS, EmbeddingsDecoder
from neuroroute.wire.requesting import check_size

_OPTIONS = tuple(EmbedOptions.__annotations__)
_LISTING_SECONDS = 60.0
"""How long a listing is taken for true, so that not every call asks for one."""
_SHOWN = 5


class EmbeddingVerbs(CountVerbs):
    """What an adapter can do with texts that nobody is to answer."""

    async def embed(
        self,
        texts: str | Iterable[str],
        *,
        model: str | None = None,
        batch_size: int = 64,
        **limits: Unpack[EmbedOptions],
    ) -> Embeddings:
        """Vectors of texts, one for each, in their order.

        Many texts are sent in batches, one after the other, each as any request is: with retries, its turn, and a
        ``timeout_ms`` of its own. LM Studio cuts a text that is longer than the model's context without a word; where
        the listing tells the context, a note names the texts that are longer by estimate, and ``strict`` refuses them.

        Args:
            texts: one, or many; none of them empty.
            model: an embedding model; ``auto``: one that the server has, loaded if possible. Default: this adapter's.
            batch_size: texts in a request at most.
            **limits: see :class:`~neuroroute.RequestOptions`.

        Raises:
            TypeError: an unknown option; nothing was sent.
            ModelInvalidRequestError: a value is wrong, or the model is none for embeddings.
            ModelContextLengthError: with ``strict``: a text is too long; nothing was sent.
            LMStudioError: a batch failed.
        """
        given = _texts(texts)
        if type(batch_size) is not int or batch_size < 1:
            raise ModelInvalidRequestError(f"batch_size is {batch_size!r:.60}; it must be a whole number of at least 1")
        options = self._embed_options(model, limits)
        began = perf_counter()
        name, notes = await self._embedder(given, options)
        total = Embeddings(vectors=[], model=name, tokens=TokenUsage(), attempts=0)
        for at in range(0, len(given), batch_size):
            batch = self._batch(name, given[at : at + batch_size], options, at, notes)
            await self._embed_batch(batch, total)
        if not total.tokens.prompt:
            estimate = sum(map(estimate_tokens, given))
            total.tokens = TokenUsage(prompt=estimate, total=estimate, estimated=True)
        total.processing_time = perf_counter() - began
        total.notes = tuple(notes)
        return total

    def _embed_options(self, model: str | None, limits: Mapping[str, Any]) -> dict[str, Any]:
        """Limits as they were given, else as the adapter has them; nothing of what concerns answers."""
        if (unknown := next((name for name in limits if name not in _OPTIONS), None)) is not None:
            raise TypeError(f"embed() got an unexpected option {unknown!r}")
        own = {name: self._defaults[name] for name in _OPTIONS}
        return {**DEFAULTS, **own, **checked({"model": model, **limits}, "embed")}

    async def _embedder(self, texts: Sequence[str], options: Mapping[str, Any]) -> tuple[str, list[Note]]:
        """The model that is asked, and what is to be noted of it and the texts, as far as there is a listing."""
        asked: str = options["model"] or self._model_id
        await self._core.settings(options["timeout_ms"])
        try:
            models = await self._core.hosts.models(max_age=_LISTING_SECONDS)
        except LMStudioError:
            if asked == AUTO:
                raise
            return asked, []
        chosen, notes = _choose(models) if asked == AUTO else (None, [])
        details = chosen or next((one for one in models if one.answers_to(asked)), None)
        if details is None:
            return asked, notes
        if details.kind == "llm" or details.lacks("embedding"):
            raise ModelInvalidRequestError(f"{asked!r} makes no embeddings", model=asked, hint=_instead(models))
        if (note := _too_long(texts, details, strict=options["strict"])) is not None:
            notes.append(note)
        return (details.key if asked == AUTO else asked), notes

    def _batch(
        self, model: str, texts: Sequence[str], options: dict[str, Any], first: int, notes: list[Note]
    ) -> ChatRequest:
        request = ChatRequest(
            endpoint=EMBEDDINGS,
            model=model,
            messages=[UserMessage(content=text) for text in texts],
            body=b"",
            streaming=False,
            options={**options},
            notes=notes,
            room=max(map(estimate_tokens, texts)),
        )
        try:
            request.encode()
        except UnicodeEncodeError as error:
            at = next(at for at, text in enumerate(texts) if not _is_unicode(text))
            why = f"texts[{first + at}] holds a lone surrogate (half of a UTF-16 pair), which is not Unicode text"
            raise ModelInvalidRequestError(why) from error
        check_size(request.body, self._core.max_request_bytes)
        return request

    async def _embed_batch(self, request: ChatRequest, total: Embeddings) -> None:
        """Asks for the vectors of one batch, and puts them with the others."""
        try:
            reply = await self._core.reply(request)
            answer = cast("EmbeddingsDecoder", reply.answer)
            if answer.model and not same_model(request.model, answer.model.partition("@")[0]):
                note = cast("Note", request.different_model(answer.model))
                if request.options["strict_model"]:
                    raise ModelNotFoundError(note.message, hint="Load the model that you asked for.")
                if note not in request.notes:
                    request.notes.append(note)
        except LMStudioError as error:
            error.model = error.model or request.model
            error.host = error.host or request.host or None
            raise
        total.vectors += answer.vectors
        total.model = answer.model or request.model
        total.host = reply.host
        total.attempts += reply.attempts
        if (usage := answer.usage) is not None:
            prompt = total.tokens.prompt + usage.prompt
            total.tokens = TokenUsage(prompt=prompt, total=prompt)


def _texts(given: Any) -> list[str]:
    if is_text(given):
        given = [given]
    if not is_series(given):
        raise ModelInvalidRequestError(f"texts must be a text or a list of texts, not a {type(given).__name__}")
    texts = list(given)
    if not texts:
        raise ModelInvalidRequestError("there is nothing to embed: texts is empty")
    for at, text in enumerate(texts):
        if not is_text(text) or not text:
            what = "an empty text" if is_text(text) else f"a value of type {type(text).__name__}"
            raise ModelInvalidRequestError(f"texts[{at}] is {what}; each must be a text that is not empty")
    return texts


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _choose(models: Sequence[ModelDetails]) -> tuple[ModelDetails, list[Note]]:
    """A model for embeddings: the first that is loaded, else the first that there is."""
    able = sorted((one for one in models if "embedding" in one.capabilities), key=lambda one: not one.loaded)
    if not able:
        hint = "Download one, such as text-embedding-nomic-embed-text-v1.5, in LM Studio or with download_model()."
        raise ModelUnavailableError("the server has no model for embeddings", retryable=False, hint=hint)
    if len(able) == 1:
        return able[0], []
    others = ", ".join(one.key for one in able[1:])
    return able[0], [Note("MODEL_CHOSEN", f"{able[0].key!r} was asked; these would have done, too: {others}")]


def _instead(models: Sequence[ModelDetails]) -> str:
    able = [one.key for one in models if "embedding" in one.capabilities]
    if able:
        return f"Give embed(model=...) one that does: {', '.join(able[:_SHOWN])}."
    return "Download an embedding model, such as text-embedding-nomic-embed-text-v1.5, and give it as embed(model=...)."


def _too_long(texts: Sequence[str], details: ModelDetails, *, strict: bool) -> Note | None:
    """What is to be noted of texts that the server will cut.

    Raises:
        ModelContextLengthError: with ``strict``.
    """
    contexts = [copy.context_length for copy in details.instances if copy.context_length]
    fits = max(contexts) if contexts else details.max_context_length  # of several hosts, one may have room
    if fits is None:
        return None
    long = {at: tokens for at, text in enumerate(texts) if (tokens := estimate_tokens(text)) > fits}
    if not long:
        return None
    shown = ", ".join([f"texts[{at}]" for at in [*long][:_SHOWN]])
    more = f" and {len(long) - _SHOWN} more" if len(long) > _SHOWN else ""
    why = f"{shown}{more}: longer, by estimate, than the {fits} tokens that the model takes"
    if strict:
        raise ModelContextLengthError(
            why,
            model=details.key,
            details={"prompt_tokens": max(long.values()), "context_length": fits},
            hint="Split those texts, or load the model with a larger context length.",
        )
    return Note("TEXT_TRUNCATED", f"{why}; the server cuts them without a word")
