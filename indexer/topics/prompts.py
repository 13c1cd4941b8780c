"""Topics and hashtags as texts in the space of pictures, for encoders that read text.

Words are put into prompts like a photo's caption. The mean over several prompts represents a class
better than one (Radford et al., Learning transferable visual models from natural language
supervision, 2021, section 3.1.4). Builds do this; queries only compare vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hashlens.indexer.embeddings.space import WordSpace
from hashlens.indexer.progress import NullProgress, Progress
from hashlens.indexer.text.segmenter import Segmenter, vocabulary_counts
from hashlens.indexer.topics.model import TopicTable
from hashlens.indexer.types import Embeddings, Floats

PLAIN = "a photo of {}."
TEMPLATES = (
    *("{}", PLAIN, "a photo of my {}.", "a close-up photo of {}."),
    *("a good photo of {}.", "a photo about {}."),
)
MAX_READ_HASHTAGS = 20_000  # the most used: more take many minutes on a laptop
Segment = Callable[[str], Sequence[str]]
_BATCH = 256  # texts between two steps of progress


class TextReader:
    """Returns unit vectors of texts, and encodes each text once for all indexes of a build."""

    def __init__(self, encode: Callable[[Sequence[str]], Floats]) -> None:
        """Take a function from n texts to unit vectors float32 (n, d)."""
        self._encode = encode
        self._known: dict[str, Floats] = {}

    def vectors(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Return unit vectors float32 (n, d) of n texts, one or more; advance for each text."""
        progress = progress or NullProgress()
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        progress.advance(len(texts) - len(fresh))
        for start in range(0, len(fresh), _BATCH):
            some = fresh[start : start + _BATCH]
            self._known.update(zip(some, self._encode(some), strict=True))
            progress.advance(len(some))
        return np.stack([self._known[text] for text in texts])


def topic_texts(table: TopicTable, space: WordSpace, reader: TextReader) -> Floats:
    """Return a unit vector of each topic, float32 (t, d): the mean of its prompts.

    Args:
        table: the topics.
        space: pretrained words by frequency, into which hashtags are cut.
        reader: encodes texts.
    """
    segment = Segmenter(vocabulary_counts({}, space.words)).segment
    means = []
    for name, tags in zip(table.names, table.hashtags, strict=True):
        phrases = dict.fromkeys([name.replace("-", " "), *(" ".join(segment(tag)) for tag in tags)])
        prompts = [template.format(words) for words in phrases for template in TEMPLATES]
        means.append(reader.vectors(prompts).mean(axis=0))
    texts = np.stack(means)
    unit: Floats = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    return unit


def hashtag_texts(
    tag_ids: Mapping[str, int], segment: Segment, reader: TextReader, progress: Progress
) -> Embeddings:
    """Return unit vectors of hashtags, one or more, in one prompt each; ids are tag ids."""
    prompts = [PLAIN.format(" ".join(segment(key))) for key in tag_ids]
    ids = np.fromiter(tag_ids.values(), np.int64, len(tag_ids))
    return Embeddings(ids, reader.vectors(prompts, progress))
