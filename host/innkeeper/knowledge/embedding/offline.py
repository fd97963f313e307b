"""The model that works offline: wordllama's weights, which lie in its package.

A text is the mean of its tokens' vectors, so thousands of texts take a second. Weights and tokenizer are read from the
package's folder and wordllama itself is never imported: it looks for its tokenizer in a folder of another name and
goes to fetch it, imports a client of HTTP, and sets up the logging of the whole process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import trio
from numpy.typing import NDArray

from innkeeper.knowledge.embedding.checked import unit
from innkeeper.knowledge.embedding.interface import EmbeddingError, ModelIdentity, Vectors

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NAME: Final = "wordllama"
ID: Final = "wordllama-l2-256"

_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_DIMENSION = 256
_MOST = 16_000
"""Characters of a text that are looked at: the mean of more says nothing, and one token of many thousand takes long."""

_INLINE = 2000
"""Characters that take less than a hop to a thread and back."""

_BATCH = 64


@dataclass(frozen=True, slots=True)
class _Model:
    identity: ModelIdentity
    tokenizer: Tokenizer
    weights: NDArray[np.float32]


class OfflineEmbedder:
    """wordllama, 256 numbers. Knows English well, languages of Europe fairly, others hardly."""

    def __init__(self, model: _Model) -> None:
        self._model = model

    @property
    def identity(self) -> ModelIdentity:
        return self._model.identity

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """As `Embedder.embed`."""
        if sum(min(len(text), _MOST) for text in texts) <= _INLINE:
            return self.embed_now(texts)
        pieces = [
            await trio.to_thread.run_sync(self.embed_now, texts[at : at + _BATCH], abandon_on_cancel=True)
            for at in range(0, len(texts), _BATCH)
        ]
        return np.concatenate(pieces)

    def embed_now(self, texts: Sequence[str]) -> Vectors:
        """As `embed`, in this thread: some 20 us for a sentence."""
        made = np.zeros((len(texts), _DIMENSION), np.float32)
        # Half of a surrogate pair is no text of Unicode.
        whole = [text[:_MOST].encode("utf-8", "replace").decode() for text in texts]
        for at, encoded in enumerate(self._model.tokenizer.encode_batch(whole, add_special_tokens=False)):
            ids = encoded.ids
            if ids and whole[at].strip():
                made[at] = self._model.weights[ids].mean(axis=0)
        return unit(made, NAME)


async def open_offline() -> OfflineEmbedder:
    """The model, read once in a process. Takes about 0.2 s, in a thread.

    Raises:
        EmbeddingError: its package is not there, or is another than this host knows.
    """
    return OfflineEmbedder(await trio.to_thread.run_sync(_load))


@cache
def _load() -> _Model:
    spec = find_spec(NAME)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddingError("the package wordllama is not installed: `pip install wordllama`")
    folder = Path(spec.submodule_search_locations[0])
    try:
        from safetensors.numpy import load
        from tokenizers import Tokenizer

        data = (folder / _WEIGHTS).read_bytes()
        (weights,) = load(data).values()
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
    except Exception as error:
        # Whatever these two raise: of a package that was changed nothing is believed.
        raise EmbeddingError(
            f"the weights of the package wordllama cannot be read ({type(error).__name__}): install it again"
        ) from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if weights.ndim != 2 or weights.shape[1] != _DIMENSION or weights.shape[0] < tokenizer.get_vocab_size():
        raise EmbeddingError("the package wordllama has other weights than this host knows")
    version = hashlib.sha256(data).hexdigest()[:8]
    return _Model(ModelIdentity(ID, version, _DIMENSION), tokenizer, weights.astype(np.float32))
