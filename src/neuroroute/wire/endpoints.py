"""The routes of LM Studio that answer requests: one pipe for all, another body and another decoder for each."""

from __future__ import annotations

from neuroroute.requests import ChatRequest, Endpoint
from neuroroute.wire.completions import CompletionDecoder, completion_body
from neuroroute.wire.decode import AnswerDecoder
from neuroroute.wire.decoder import Put
from neuroroute.wire.encode import chat_body
from neuroroute.wire.nativebody import native_body
from neuroroute.wire.nativedecode import NativeDecoder
from neuroroute.wire.responsesbody import responses_body
from neuroroute.wire.responsesdecode import ResponsesDecoder


def _chat(put: Put, request: ChatRequest) -> AnswerDecoder:
    return AnswerDecoder(put, request.salvageable)


def _completion(put: Put, request: ChatRequest) -> CompletionDecoder:
    return CompletionDecoder(put)


def _responses(put: Put, request: ChatRequest) -> ResponsesDecoder:
    return ResponsesDecoder(put, request.salvageable)


def _native(put: Put, request: ChatRequest) -> NativeDecoder:
    return NativeDecoder(put, model=request.model, most=request.options["max_tokens"], progressed=request.progressed)


CHAT = Endpoint("chat", "/chat/completions", chat_body, _chat)
COMPLETIONS = Endpoint("completions", "/completions", completion_body, _completion)
RESPONSES = Endpoint("responses", "/responses", responses_body, _responses, since="0.3.29")
NATIVE = Endpoint("native", "/api/v1/chat", native_body, _native, since="0.4.0")

ENDPOINTS = {endpoint.api: endpoint for endpoint in (CHAT, COMPLETIONS, RESPONSES, NATIVE)}
"""By the option ``api``."""
