"""Reasons: one sentence that explains a recommended hashtag, made of facts of the index.

Every word, hashtag, post and number in a sentence is looked up. A channel that finds none is
skipped for the next. Only asked for with `explain`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hashlens.indexer.config import ALL_TOPICS
from hashlens.indexer.text.escaping import count_noun
from hashlens.indexer.types import Floats, Ids
from hashlens.retriever.candidates.channels import AUTHOR_DISCOUNT, MIN_COMMON_SHARE
from hashlens.retriever.candidates.image_classes import ShownClasses
from hashlens.retriever.index.index_reader import IndexReader
from hashlens.retriever.query.batch import QueryBatch
from hashlens.retriever.recommendation import Evidence, ScoredTag

MIN_SECOND_SHARE = 0.15  # of a second kind of evidence that is named, too
MIN_COMPARED_IDF = 4.5  # of a word that a hashtag may be compared with: one post in ninety
MIN_COSINE = 0.6  # of a hashtag and a word that are used alike
MAX_POSTS = 2  # posts named in a sentence
MIN_SECOND_SCORE = 0.4  # of a second word, as a share of the first one's score

# Each channel in plain words; channels with the same phrase are merged.
PHRASES = {
    "spelled": "in your caption",
    "words inside": "holds your words",
    "word counts": "with your words",
    "word neighbours": "similar wording",
    "language": "in your language",
    "caption neighbours": "similar captions",
    "image neighbours": "similar pictures",
    "seed neighbours": "similar hashtags",
    "picture classes": "what it shows",
    "picture words": "what it shows",
    "co-occurrence": "with your hashtags",
    "linear": "with your hashtags",
    "seed vectors": "near in meaning",
    "caption vectors": "near in meaning",
    "meaning": "near in meaning",
    "companions": "fits the others",
    "topic": "fits the topic",
    "topic fit": "fits the topic",
    "popularity": "much used",
    "habits": "you use it",
    "pinned": "pinned by you",
}


@dataclass(frozen=True, slots=True)
class Support:
    """Of `searched` posts near a query, `having` have a hashtag; `posts` are the nearest ids."""

    posts: tuple[str, ...]
    having: int
    searched: int


@dataclass(frozen=True, slots=True, eq=False)
class ExplainContext:
    """One query of a batch, with everything that is looked up for it once.

    `ids` are ids of the hashtags shown and given, by key, if the index knows them; `others` are the
    hashtags shown that are not pinned; `words` the caption's words by id; `supports` the support of
    each channel that rests on posts, by channel and hashtag; `shown` the classes of the pictures.
    """

    index: IndexReader
    batch: QueryBatch
    query: int
    ids: Mapping[str, int]
    others: Sequence[str]
    words: Mapping[int, str]
    supports: Mapping[str, Mapping[str, Support]]
    shown: ShownClasses | None

    def sentence(self, tag: ScoredTag) -> str:
        """Return the reason for a hashtag: its largest kind of evidence, and a strong second."""
        clauses: list[str] = []
        for phrase, share in evidence_phrases(tag.evidence):
            if clauses and share < MIN_SECOND_SHARE:
                break
            clause = next(self._clauses(tag, phrase), None)
            if clause and clause not in clauses:
                clauses.append(clause)
            if len(clauses) == 2:
                break
        return f"because {', and '.join(clauses or [self._by_popularity(tag)])}"

    def _clauses(self, tag: ScoredTag, phrase: str) -> Iterator[str]:
        """Yield clauses of the channels with a phrase, the strongest first."""
        for part in tag.evidence:
            if PHRASES.get(part.channel) == phrase:
                clause = _CLAUSES[part.channel](self, tag, part)
                if clause:
                    yield clause

    def _id(self, tag: ScoredTag) -> int:
        """Return a hashtag's id, -1 if the index does not know it."""
        return self.ids.get(tag.tag, -1)

    def _by_spelling(self, tag: ScoredTag, part: Evidence) -> str | None:
        coined = enumerate(self.batch.spelt.coined, start=self.index.hashtag_count)
        number = self.ids.get(tag.tag, {key: n for n, key in coined}.get(tag.tag))
        if number not in self.batch.spelt.entries.of_query(self.query).ids.tolist():
            return None
        meant = self.batch.meant[self.query]
        said = next((each.said for each in meant if tag.tag in each.keys), tag.tag)
        how = "your caption spells it" if said == tag.tag else f"'{said}' in your caption means it"
        return how + ("" if tag.tag in self.ids else ", though no post has it")

    def _by_words_inside(self, tag: ScoredTag, part: Evidence) -> str | None:
        words = self.batch.word_pairs.of_query(self.query).ids
        places, tags, _ = self.index.counts.word_inside.rows(words)
        inside = [self.words[int(w)] for w in words[places[tags == self._id(tag)]]]
        if not inside:
            return None
        meant = self.batch.meant[self.query]
        said = {word: each.said for each in meant for word in each.english_words}
        inside = [f"{word} ({said[word]})" if word in said else word for word in inside]
        quoted = [f"'{word}'" for word in dict.fromkeys(inside)]
        return f"it holds your word{'s' * (len(quoted) > 1)} {' and '.join(quoted)}"

    def _by_word_counts(self, tag: ScoredTag, part: Evidence) -> str | None:
        """Name the one or two words with the largest scores, with the authors who use both."""
        words, counts = self.batch.word_pairs.of_query(self.query), self.index.counts
        is_language = part.channel == "language"
        authors = counts.words[words.ids, 1].astype(np.float32)
        if is_language:
            words = words.where(authors > MIN_COMMON_SHARE * counts.authors)
            authors = counts.words[words.ids, 1].astype(np.float32)
        places, tags, values = counts.word_tags.rows(words.ids)
        rows = tags == self._id(tag)
        places, uses = places[rows], values[rows, 0]
        weight = 1 if is_language else words.values[places, 0] ** 2
        scores = weight * np.maximum(uses - AUTHOR_DISCOUNT, 0) / (authors[places] + 5)
        return self._uses(
            [
                (uses[place], f"with '{self.words[int(words.ids[places[place]])]}'")
                for place in _best_two(scores)
                if uses[place] > 0
            ]
        )

    def _by_seeds(self, tag: ScoredTag, part: Evidence) -> str | None:
        names = {self.ids[s]: s for s in self.batch.queries[self.query].seeds if s in self.ids}
        return self._cooccurrence(tag, names, "")

    def _by_other_tags(self, tag: ScoredTag, part: Evidence) -> str | None:
        """Name the shown hashtag that it occurs with most often."""
        names = {self.ids[key]: key for key in self.others if key in self.ids and key != tag.tag}
        return self._cooccurrence(tag, names, ", which fits too,", most=1)

    def _cooccurrence(
        self, tag: ScoredTag, names: Mapping[int, str], more: str, most: int = 2
    ) -> str | None:
        """Name the hashtags of `names` with which it shares the most posts, and how many."""
        others: Ids = np.array(sorted(names), np.int64)
        places, tags, values = self.index.counts.tag_tags.rows(others)
        rows = tags == self._id(tag)
        places, posts = places[rows], values[rows, 1] if len(values) else np.zeros(0, np.float32)
        best = [
            f"#{names[int(others[places[place]])]}{more} in {_plural(int(posts[place]), 'post')}"
            for place in _best_two(posts)[:most]
            if posts[place] > 0
        ]
        return f"it stands beside {' and '.join(best)}" if best else None

    def _by_nearest_word(self, tag: ScoredTag, part: Evidence) -> str | None:
        """Name the rare word of the caption whose vector is nearest to the hashtag's."""
        space, idf = self.index.space(ALL_TOPICS), self.batch.idf
        rare = [word for word in self.words.values() if idf.get(word, 0) > MIN_COMPARED_IDF]
        words = [word for word in rare if word != tag.tag]
        if space is None or not words:
            return None
        known, rows = space.lookup(words)
        nearest = self._nearest(tag, space.vectors[rows].astype(np.float32))
        return None if nearest is None else f"it is used much as '{words[int(known[nearest])]}' is"

    def _by_nearest_seed(self, tag: ScoredTag, part: Evidence) -> str | None:
        seeds = list(self.batch.seeds[self.query])
        nearest = self._nearest(tag, self.index.tag_vectors[seeds])
        names = {number: key for key, number in self.ids.items()}
        return None if nearest is None else f"it is used much as #{names[seeds[nearest]]} is"

    def _by_meaning(self, tag: ScoredTag, part: Evidence) -> str | None:
        return self._by_nearest_seed(tag, part) or self._by_nearest_word(tag, part)

    def _nearest(self, tag: ScoredTag, others: Floats) -> int | None:
        """Return which of n vectors is nearest to the hashtag's, if one is near enough."""
        if tag.tag not in self.ids or not len(others):
            return None
        cosines = others @ self.index.tag_vectors[self._id(tag)]
        return int(np.argmax(cosines)) if cosines.max() >= MIN_COSINE else None

    def _by_topic(self, tag: ScoredTag, part: Evidence) -> str | None:
        """Name the topic with the largest product of probability and share of authors."""
        if tag.tag not in self.ids:
            return None
        authors = self.index.counts.topics[self._id(tag)]
        chances = self.batch.topics.probs[self.query]
        topic = int(np.argmax(chances * authors / np.maximum(self.index.topic_authors, 1)))
        name = self.batch.topics.topics[topic]
        return self._uses([(authors[topic], f"on {name}")]) if authors[topic] else None

    def _by_popularity(self, tag: ScoredTag, part: Evidence | None = None) -> str:
        if tag.tag not in self.ids:
            return "it fits the rest"
        return str(self._uses([(self.index.counts.hashtags[self._id(tag), 1], "of this index")]))

    def _by_author(self, tag: ScoredTag, part: Evidence) -> str | None:
        prior = self.batch.habits
        if prior is None or tag.tag not in self.ids:
            return None
        uses = prior.uses_of(self._id(tag))
        have = "has" if uses == 1 else "have"
        return f"{uses:,} of your {_plural(prior.posts, 'post')} {have} it"

    def _by_pin(self, tag: ScoredTag, part: Evidence) -> str:
        return "you pinned it"

    def _by_classes(self, tag: ScoredTag, part: Evidence) -> str | None:
        """Name the likeliest class of those that the hashtag names, or else of all."""
        shown = self.shown
        rows = np.flatnonzero(shown.queries == self.query).tolist() if shown else []
        if shown is None or not rows:
            return None
        naming = [row for row in rows if tag.tag in shown.keys[shown.kinds[row]]]
        first = max(naming or rows, key=lambda row: float(shown.chances[row]))
        name = " ".join(shown.names[shown.kinds[first]])
        return f"the picture looks like '{name}' ({shown.chances[first]:.0%} sure)"

    def _by_picture_words(self, tag: ScoredTag, part: Evidence) -> str:
        return "its words are among the nearest to the picture"

    def _by_posts(self, tag: ScoredTag, part: Evidence) -> str | None:
        found = self.supports.get(part.channel, {}).get(tag.tag)
        if found is None:
            return None
        things, how = _NEAR_POSTS[part.channel]
        posts = f"{count_noun(found.searched, things)}{how}"
        carry = "carries" if found.having == 1 else "carry"
        return f"{found.having:,} of the {posts} {carry} it: {', '.join(found.posts[:MAX_POSTS])}"

    def _uses(self, found: Sequence[tuple[float, str]]) -> str | None:
        """Return `12 authors use it in posts with ..., 5 with ...`; posts if no author is named."""
        if not found:
            return None
        (first, which), *others = found
        is_one = int(first) == 1
        also = "".join(f", {int(number):,} {where}" for number, where in others)
        if self.index.manifest.counts["authors"]:
            return f"{_plural(int(first), 'author')} use{'s' * is_one} it in posts {which}{also}"
        return f"{_plural(int(first), 'post')} {which} {'has' if is_one else 'have'} it{also}"


Clause = Callable[[ExplainContext, ScoredTag, Evidence], str | None]
_CLAUSES: dict[str, Clause] = {
    "spelled": ExplainContext._by_spelling,
    "words inside": ExplainContext._by_words_inside,
    "word counts": ExplainContext._by_word_counts,
    "language": ExplainContext._by_word_counts,
    "co-occurrence": ExplainContext._by_seeds,
    "linear": ExplainContext._by_seeds,
    "seed vectors": ExplainContext._by_nearest_seed,
    "caption vectors": ExplainContext._by_nearest_word,
    "meaning": ExplainContext._by_meaning,
    "companions": ExplainContext._by_other_tags,
    "topic": ExplainContext._by_topic,
    "topic fit": ExplainContext._by_topic,
    "popularity": ExplainContext._by_popularity,
    "habits": ExplainContext._by_author,
    "pinned": ExplainContext._by_pin,
    "picture classes": ExplainContext._by_classes,
    "picture words": ExplainContext._by_picture_words,
}
# The posts that a channel searched, in words.
_NEAR_POSTS = {
    "image neighbours": ("most similar pictures", ""),
    "caption neighbours": ("most similar captions", ""),
    "word neighbours": ("posts", " most alike by words"),
    "seed neighbours": ("posts", " most alike by hashtags"),
}
_CLAUSES |= dict.fromkeys(_NEAR_POSTS, ExplainContext._by_posts)


def evidence_phrases(evidence: Sequence[Evidence]) -> list[tuple[str, float]]:
    """Return kinds of evidence in words, each with its share, the largest first."""
    shares: dict[str, float] = {}
    for part in evidence:
        phrase = PHRASES.get(part.channel, part.channel)
        shares[phrase] = shares.get(phrase, 0.0) + part.share
    return sorted(shares.items(), key=lambda item: -item[1])


def _best_two(scores: Floats) -> list[int]:
    """Return places of the largest score, and of the second if it is nearly as large."""
    order: list[int] = np.argsort(-scores, kind="stable")[:2].tolist()
    return [place for place in order if scores[place] >= MIN_SECOND_SCORE * scores[order[0]]]


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
