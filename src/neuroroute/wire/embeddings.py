"""``/v1/embeddings``: texts as vectors.

LM Studio counts no tokens here, cuts a text that is too long without a word, and ignores ``encoding_format`` and
``dimensions``. Source: https://lmstudio.ai/docs/developer/openai-compat/embeddings
"""

from __future__ import annotations

from typing import Any

import msgspec

from neuroroute.errors import MalformedResponseError
from neuroroute.requests import ChatRequest, Endpoint
from neuroroute.responses import Folded
from neuroroute.wire.decoder import NO_ERROR, Decoder, Put
from neuroroute.wire.encode import encode
from neuroroute.wire.failures import failure_in_success
from neuroroute.wire.measures import usage_of


class _Embedding(msgspec.Struct, gc=False):
    embedding: list[float]
    index: int | None = None


class _Payload(msgspec.Struct, gc=False):
    data: list[_Embedding] | None = None
    model: Any = None
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode = msgspec.json.Decoder(_Payload).decode


class EmbeddingsDecoder(Decoder):
    """Decodes the vectors of one request, in the order of its texts."""

    __slots__ = ("_count", "vectors")

    def __init__(self, put: Put, count: int) -> None:
        super().__init__(put)
        self._count = count
        self.vectors: list[list[float]] = []

    def _event(self, data: bytes) -> None:
        raise MalformedResponseError("embeddings were answered as a stream")

    def _whole_body(self, body: bytes) -> None:
        payload, body = self._decoded(_decode, body)
        if payload.data is None or (payload.error is not msgspec.UNSET and bytes(payload.error) not in NO_ERROR):
            raise failure_in_success(body, why="it has no 'data'")
        self.vectors = self._in_order(payload.data)
        self.model = payload.model if isinstance(payload.model, str) else ""
        self.usage = usage_of(payload.usage)
        self._whole = body
        self.began = True

    def _in_order(self, data: list[_Embedding]) -> list[list[float]]:
        places = [at if one.index is None else one.index for at, one in enumerate(data)]
        by_place = dict(zip(places, data, strict=True))
        if sorted(by_place) != list(range(self._count)) or len(data) != self._count:
            raise MalformedResponseError(
                f"{len(data)} embeddings came for {self._count} texts, or their places are wrong"
            )
        vectors = [by_place[place].embedding for place in range(self._count)]
        if len({len(vector) for vector in vectors}) != 1 or not vectors[0]:
            raise MalformedResponseError("the embeddings are empty, or of several lengths")
        return vectors

    def raw(self, folded: Folded) -> msgspec.Raw:
        """See :class:`~neuroroute.wire.decoder.Decoder`."""
        return msgspec.Raw(self._whole)


def _body(request: ChatRequest) -> bytes:
    fields: dict[str, Any] = {"model": request.model, "input": [message.text for message in request.messages]}
    if request.options["ttl"] is not None:
        fields["ttl"] = request.options["ttl"]
    return encode(fields)


def _decoder(put: Put, request: ChatRequest) -> EmbeddingsDecoder:
    return EmbeddingsDecoder(put, len(request.messages))


EMBEDDINGS = Endpoint("embeddings", "/embeddings", _body, _decoder)
"""Its texts stand where others have messages."""
