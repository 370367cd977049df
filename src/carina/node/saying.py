"""Sentences: a constant text, and what stands in its places, so that a catalogue of translations can hold them."""

from __future__ import annotations


def named(text: str) -> str:
    """A name that pages show. So written, it is found by whoever collects texts."""
    return text


def say(text: str, **values: object) -> str:
    """The text with its places `{name}` filled in."""
    return text.format(**values) if values else text


def say_count(count: int, one: str, many: str, **values: object) -> str:
    """Of `one` and `many` what the number asks for, with it in the place `{count}`, and others in theirs."""
    return (one if count == 1 else many).format(count=count, **values)
