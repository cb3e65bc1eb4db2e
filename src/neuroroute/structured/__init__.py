"""Typed answers: what is sent as ``response_format``, and how the answer is read, in pieces and whole."""

from neuroroute.structured.asking import Ask, ask_typed, set_parsed
from neuroroute.structured.partial import PartialJSON
from neuroroute.structured.shapes import AnswerShape, Parsed

__all__ = ["AnswerShape", "Ask", "Parsed", "PartialJSON", "ask_typed", "set_parsed"]
