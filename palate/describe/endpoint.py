"""A chat model behind an OpenAI-compatible address. The one home of openai (extra `describe`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from palate.describe.facts import Facts
from palate.describe.prompts import chat_messages
from palate.describe.writers import MOST_TOKENS, Draft
from palate.errors import Package, WriterError, require

TEMPERATURES = (0.6, 0.2)  # of the first draft and of the second


@dataclass(frozen=True)
class Endpoint:
    """url ends where `/chat/completions` begins; the key is taken from OPENAI_API_KEY. Raises `MissingExtra`."""

    url: str
    model: str
    timeout: float = 60  # seconds of one answer

    def __post_init__(self) -> None:
        require([Package("openai", "openai", "describe")])

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model

    @cached_property
    def _client(self) -> Any:
        import openai

        key = os.environ.get("OPENAI_API_KEY") or "none"  # servers of one's own ask for no key
        return openai.OpenAI(base_url=self.url, api_key=key, timeout=self.timeout, max_retries=2)

    def write(self, facts: Facts, language: str, style: str, refused: Sequence[str]) -> Draft:
        """Ask for the sentences; the second time with the reasons why the first were refused."""
        client = self._client
        import openai

        try:
            answer = client.chat.completions.create(
                model=self.model,
                messages=chat_messages(facts, language, style, refused),
                max_tokens=MOST_TOKENS,
                temperature=TEMPERATURES[bool(refused)],
                seed=1 + bool(refused),
            )
            text = answer.choices[0].message.content or ""
        except (openai.OpenAIError, IndexError, AttributeError, TypeError) as error:
            raise WriterError(f"{self.url}, {self.model}: {error}") from None
        used = answer.usage.total_tokens if answer.usage else 0
        return Draft(" ".join(text.split()), used)
