"""Why a hashtag is recommended, as one sentence made of what the index holds.

Every word, hashtag, post and number that a sentence names is looked up, and a kind of evidence
that finds none leaves its place to the next. Only asked for with `explain`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hashlens.indexer.config import ALL_TOPICS
from hashlens.indexer.text.escaping import count_noun
from hashlens.indexer.types import Evidence, Floats, Ids, ScoredTag
from hashlens.retriever.candidates.channels import COMMON, DISCOUNT
from hashlens.retriever.candidates.image_classes import Shown
from hashlens.retriever.index.pairs import Entries
from hashlens.retriever.index.reader import IndexReader
from hashlens.retriever.query.batch import QueryBatch
from hashlens.retriever.query.glossary import Meant

SECOND = 0.15  # share from which on a second kind of evidence is told, too
TELLS = 4.5  # idf from which on a word may be what a hashtag is like: one post in ninety
ALIKE = 0.6  # cosine from which on it is
NAMED = 2  # posts named in a sentence
NEARLY = 0.4  # of what the first word says, from which on a second word is named

# Each channel as people call it; channels of one phrase are told together.
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
    """Of `asked` posts near a query `held` have a hashtag; `posts` are ids of the nearest."""

    posts: tuple[str, ...]
    held: int
    asked: int


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One query of a batch, and what is looked up of it once.

    `ids` are ids of the hashtags shown and given, by key, for those that the index knows; `others`
    those shown that nobody pinned; `words` the caption's words by id; `supports` what each channel
    that rests on posts found, by its name and the hashtag's key; `seen` what the batch's
    pictures show.
    """

    index: IndexReader
    batch: QueryBatch
    query: int
    ids: Mapping[str, int]
    others: Sequence[str]
    words: Mapping[int, str]
    supports: Mapping[str, Mapping[str, Support]]
    seen: Shown | None

    def sentence(self, tag: ScoredTag) -> str:
        """Why the hashtag is there: the kind of evidence that says most, and a strong second."""
        said: list[str] = []
        for phrase, share in phrases(tag.evidence):
            if said and share < SECOND:
                break
            clause = next(self._clauses(tag, phrase), None)
            if clause and clause not in said:
                said.append(clause)
            if len(said) == 2:
                break
        return f"because {', and '.join(said or [self._used(tag)])}"

    def _clauses(self, tag: ScoredTag, phrase: str) -> Iterator[str]:
        """What its channels can say, the strongest first."""
        for part in tag.evidence:
            if PHRASES.get(part.channel) == phrase:
                clause = _CLAUSES[part.channel](self, tag, part)
                if clause:
                    yield clause

    def _spelled(self, tag: ScoredTag, part: Evidence) -> str | None:
        fresh = {key: self.index.tags + place for place, key in enumerate(self.batch.spelt.coined)}
        number = self.ids.get(tag.tag, fresh.get(tag.tag))
        if number not in _of(self.batch.spelt.entries, self.query).tags.tolist():
            return None
        said = next((each.said for each in self._meant() if tag.tag in each.keys), tag.tag)
        how = "your caption spells it" if said == tag.tag else f"'{said}' in your caption means it"
        return how + ("" if tag.tag in self.ids else ", though no post has it")

    def _words_inside(self, tag: ScoredTag, part: Evidence) -> str | None:
        words = _of(self.batch.word_pairs, self.query).tags
        places, tags, _ = self.index.counts.word_inside.rows(words)
        held = [self.words[int(w)] for w in words[places[tags == self.ids.get(tag.tag, -1)]]]
        said = {word: each.said for each in self._meant() for word in each.english_words}
        held = [f"{word} ({said[word]})" if word in said else word for word in held]
        return f"it holds your {_listed(held)}" if held else None

    def _meant(self) -> Sequence[Meant]:
        """The caption's words that are understood through English."""
        return self.batch.meant[self.query]

    def _with_words(self, tag: ScoredTag, part: Evidence) -> str | None:
        """The one or two words that say most, with who uses the hashtag beside them."""
        words = _of(self.batch.word_pairs, self.query)
        counts = self.index.counts
        authors = counts.words[words.tags, 1].astype(np.float32)
        if part.channel == "language":
            words = words.where(authors > COMMON * counts.authors)
            authors = counts.words[words.tags, 1].astype(np.float32)
        places, tags, values = counts.word_tags.rows(words.tags)
        rows = tags == self.ids.get(tag.tag, -1)
        places, values = places[rows], values[rows]
        weight = 1 if part.channel == "language" else words.values[places, 0] ** 2
        speaks = weight * np.maximum(values[:, 0] - DISCOUNT, 0) / (authors[places] + 5)
        best = [place for place in _best(speaks) if values[place, 0] > 0]
        return self._uses(
            [
                (values[place, 0], f"with '{self.words[int(words.tags[places[place]])]}'")
                for place in best
            ]
        )

    def _with_seeds(self, tag: ScoredTag, part: Evidence) -> str | None:
        names = {self.ids[s]: s for s in self.batch.queries[self.query].seeds if s in self.ids}
        return self._beside(tag, names, "")

    def _with_others(self, tag: ScoredTag, part: Evidence) -> str | None:
        """The other shown hashtag that it stands beside most often."""
        names = {self.ids[key]: key for key in self.others if key in self.ids and key != tag.tag}
        return self._beside(tag, names, ", which fits too,", most=1)

    def _beside(
        self, tag: ScoredTag, names: Mapping[int, str], more: str, most: int = 2
    ) -> str | None:
        """The hashtags of `names` with which it shares the most posts, and how many those are."""
        others: Ids = np.array(sorted(names), np.int64)
        places, tags, values = self.index.counts.tag_tags.rows(others)
        rows = tags == self.ids.get(tag.tag, -1)
        places, posts = places[rows], values[rows, 1] if len(values) else np.zeros(0, np.float32)
        best = [place for place in _best(posts)[:most] if posts[place] > 0]
        if not best:
            return None
        told = [
            f"#{names[int(others[places[place]])]}{more} in {_many(int(posts[place]), 'post')}"
            for place in best
        ]
        return f"it stands beside {' and '.join(told)}"

    def _near_word(self, tag: ScoredTag, part: Evidence) -> str | None:
        """The telling word of the caption whose vector is nearest to the hashtag's."""
        space, idf = self.index.space(ALL_TOPICS), self.batch.idf
        telling = [word for word in self.words.values() if idf.get(word, 0) > TELLS]
        words = [word for word in telling if word != tag.tag]
        if space is None or not words:
            return None
        there, rows = space.lookup(words)
        nearest = self._nearest(tag, space.vectors[rows].astype(np.float32))
        if nearest is None:
            return None
        return f"it is used much as '{words[int(there[nearest])]}' is"

    def _near_seed(self, tag: ScoredTag, part: Evidence) -> str | None:
        seeds = list(self.batch.seeds[self.query])
        nearest = self._nearest(tag, self.index.tag_vectors[seeds])
        if nearest is None:
            return None
        names = {i: key for key, i in self.ids.items()}
        return f"it is used much as #{names[seeds[nearest]]} is"

    def _near(self, tag: ScoredTag, part: Evidence) -> str | None:
        return self._near_seed(tag, part) or self._near_word(tag, part)

    def _nearest(self, tag: ScoredTag, others: Floats) -> int | None:
        """Which of n vectors is nearest to the hashtag's, if one is near enough."""
        number = self.ids.get(tag.tag)
        if number is None or not len(others):
            return None
        cosines = others @ self.index.tag_vectors[number]
        return int(np.argmax(cosines)) if cosines.max() >= ALIKE else None

    def _of_topic(self, tag: ScoredTag, part: Evidence) -> str | None:
        """The topic that speaks for it most: by its probability, and by who uses it there."""
        if tag.tag not in self.ids:
            return None
        authors = self.index.counts.topics[self.ids[tag.tag]]
        chances = self.batch.topics.probs[self.query]
        topic = int(np.argmax(chances * authors / np.maximum(self.index.topic_authors, 1)))
        name = self.batch.topics.topics[topic]
        return self._uses([(authors[topic], f"on {name}")]) if authors[topic] else None

    def _used(self, tag: ScoredTag, part: Evidence | None = None) -> str:
        number = self.ids.get(tag.tag)
        if number is None:
            return "it fits the rest"
        return str(self._uses([(self.index.counts.hashtags[number, 1], "of this index")]))

    def _habit(self, tag: ScoredTag, part: Evidence) -> str | None:
        habits = self.batch.habits
        if habits is None or tag.tag not in self.ids:
            return None
        held = habits.uses_of(self.ids[tag.tag])
        return f"{held:,} of your {_many(habits.posts, 'post')} {'has' if held == 1 else 'have'} it"

    def _pinned(self, tag: ScoredTag, part: Evidence) -> str:
        return "you pinned it"

    def _shows(self, tag: ScoredTag, part: Evidence) -> str | None:
        """What the picture most likely shows, of what is called so or else of all."""
        shown = self.seen
        mine = np.flatnonzero(shown.queries == self.query) if shown else np.zeros(0, np.int64)
        if shown is None or not len(mine):
            return None
        called = [row for row in mine.tolist() if tag.tag in shown.keys[shown.kinds[row]]]
        first = max(called or mine.tolist(), key=lambda row: float(shown.chances[row]))
        name = " ".join(shown.names[shown.kinds[first]])
        return f"the picture looks like '{name}' ({shown.chances[first]:.0%} sure)"

    def _matches(self, tag: ScoredTag, part: Evidence) -> str:
        return "its words are among the nearest to the picture"

    def _posts(self, tag: ScoredTag, part: Evidence) -> str | None:
        found = self.supports.get(part.channel, {}).get(tag.tag)
        if found is None:
            return None
        things, alike = _KINDS[part.channel]
        of_them = f"{count_noun(found.asked, things)}{alike}"
        carry = "carries" if found.held == 1 else "carry"
        return f"{found.held:,} of the {of_them} {carry} it: {', '.join(found.posts[:NAMED])}"

    def _uses(self, found: Sequence[tuple[float, str]]) -> str | None:
        """`12 authors use it in posts with ..., 5 with ...`; by posts where nobody has a name."""
        if not found:
            return None
        (first, which), *others = found
        alone = int(first) == 1
        also = "".join(f", {int(number):,} {where}" for number, where in others)
        if self.index.manifest.counts["authors"]:
            return f"{_many(int(first), 'author')} use{'s' * alone} it in posts {which}{also}"
        return f"{_many(int(first), 'post')} {which} {'has' if alone else 'have'} it{also}"


Clause = Callable[[Case, ScoredTag, Evidence], str | None]
_CLAUSES: dict[str, Clause] = {
    "spelled": Case._spelled,
    "words inside": Case._words_inside,
    "word counts": Case._with_words,
    "language": Case._with_words,
    "co-occurrence": Case._with_seeds,
    "linear": Case._with_seeds,
    "seed vectors": Case._near_seed,
    "caption vectors": Case._near_word,
    "meaning": Case._near,
    "companions": Case._with_others,
    "topic": Case._of_topic,
    "topic fit": Case._of_topic,
    "popularity": Case._used,
    "habits": Case._habit,
    "pinned": Case._pinned,
    "picture classes": Case._shows,
    "picture words": Case._matches,
}
# What the posts are that a channel asked.
_KINDS = {
    "image neighbours": ("most similar pictures", ""),
    "caption neighbours": ("most similar captions", ""),
    "word neighbours": ("posts", " most alike by words"),
    "seed neighbours": ("posts", " most alike by hashtags"),
}
_CLAUSES |= dict.fromkeys(_KINDS, Case._posts)


def phrases(evidence: Sequence[Evidence]) -> list[tuple[str, float]]:
    """Kinds of evidence in words, each with its share, the largest first."""
    shares: dict[str, float] = {}
    for part in evidence:
        phrase = PHRASES.get(part.channel, part.channel)
        shares[phrase] = shares.get(phrase, 0.0) + part.share
    return sorted(shares.items(), key=lambda item: -item[1])


def _of(entries: Entries, query: int) -> Entries:
    """One query's entries."""
    return entries.where(entries.queries == query)


def _best(speaks: Floats) -> list[int]:
    """Places of the largest value, and of the second where it is nearly as large."""
    order: list[int] = np.argsort(-speaks, kind="stable")[:2].tolist()
    return [place for place in order if speaks[place] >= NEARLY * speaks[order[0]]]


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _listed(words: Sequence[str]) -> str:
    quoted = [f"'{word}'" for word in dict.fromkeys(words)]
    return f"word{'s' * (len(quoted) > 1)} {' and '.join(quoted)}"
