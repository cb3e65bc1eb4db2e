"""Typed answers: what ``response_format`` asks for, the reading of answers, and of those that are still coming."""

from neuroroute.shapes.partial import PartialJSON
from neuroroute.shapes.shape import AnswerShape, Parsed

__all__ = ["AnswerShape", "Parsed", "PartialJSON"]
