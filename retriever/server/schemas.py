"""The forms of the API's requests and answers, which are checked and documented."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Json,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from hashlens.indexer.errors import InputError
from hashlens.indexer.text.hashtags import extract, key, strip
from hashlens.retriever.json_format import MAX_CAPTION
from hashlens.retriever.recommendation import Query
from hashlens.retriever.selection.selection import DEFAULT_DIVERSITY, DEFAULT_GENERIC, Selection
from hashlens.retriever.selection.selection_options import SelectionOptions
from hashlens.retriever.server.uploads import Upload

MOST_SEEDS = 30
MOST_ROWS = 256
MOST_ID = 300  # characters of a row's id
MAX_PROBLEMS = 3  # of one request that its refusal names

Caption = Annotated[
    str, Field(max_length=MAX_CAPTION, description="A caption; hashtags in it are seeds.")
]
Tag = Annotated[str, Field(max_length=300)]
Seeds = Annotated[list[Tag], Field(max_length=MOST_SEEDS, description="Hashtags to start from.")]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
K = Annotated[int | None, Field(ge=1, le=50, description="How many hashtags at most.")]
Blocked = Annotated[list[Tag], Field(max_length=1_000, description="Hashtags to leave out.")]
Pinned = Annotated[list[Tag], Field(max_length=50, description="Hashtags to put first.")]
Author = Annotated[
    str | None,
    Field(max_length=300, description="Author of the post, whose usual hashtags count as well."),
]
Mix = Annotated[
    dict[str, Annotated[int, Field(ge=0, le=50)]],
    Field(max_length=3, description="Places for each tier: broad, medium, niche."),
]
Topics = Annotated[
    dict[str, Share],
    Field(max_length=100, description="Topics set by hand; the others share the rest."),
]


class Options(BaseModel):
    """Options of an answer, as those of `hashlens recommend`."""

    model_config = ConfigDict(extra="forbid")

    k: K = None
    platform: Annotated[str | None, Field(max_length=40)] = None
    author: Author = None
    min_probability: Share = 0.0
    diversity: Share = DEFAULT_DIVERSITY
    generic: Share = DEFAULT_GENERIC
    mix: Mix = {}
    block: Blocked = []
    pin: Pinned = []

    def selection(self) -> Selection:
        """Return the selection of these options.

        Raises:
            InputError, ConfigError: a hashtag, platform or mix is invalid.
        """
        given = self.model_dump() | {"platform": self.platform or None}
        return SelectionOptions(**given).to_selection()


class Row(BaseModel):
    """One of many queries."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str | None, Field(max_length=MOST_ID)] = None
    caption: Caption = ""
    seeds: Seeds = []
    topics: Topics = {}

    def query(self) -> Query:
        """Return the query; hashtags in the caption count as seeds.

        Raises:
            InputError: nothing is given, or a seed is no hashtag.
        """
        return query_of(None, self.caption, self.seeds, self.topics)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A malformed row, which gets its error as the answer."""

    id: str | None
    error: InputError


def check_row(value: Any, check: ValidatorFunctionWrapHandler) -> Any:  # noqa: ANN401 (JSON)
    """Return a row, or a `BadRow` if it is malformed."""
    try:
        return check(value)
    except ValidationError as error:
        named = value.get("id") if isinstance(value, dict) else None
        row_id = named if isinstance(named, str) and len(named) <= MOST_ID else None
        return BadRow(row_id, InputError(problems_of(error.errors())))


class Rows(BaseModel):
    """Many queries, answered in order."""

    model_config = ConfigDict(extra="forbid")

    rows: Annotated[list[Annotated[Row, WrapValidator(check_row)]], Field(max_length=MOST_ROWS)]
    options: Options = Options()


class Asked(BaseModel):
    """The fields beside the picture of `POST /v1/recommend`."""

    model_config = ConfigDict(extra="forbid")

    caption: Caption = ""
    seeds: Seeds = []
    k: K = None
    platform: Annotated[str | None, Field(max_length=40)] = None
    topics: Annotated[Topics, Field(description="Topics set by hand.")] = {}
    options: Annotated[Options, Field(description="All other options.")] = Options()
    explain: Annotated[bool, Field(description="Whether to give reasons.")] = True

    def selection(self) -> Selection:
        """Return the selection of these options.

        Raises:
            InputError, ConfigError: a hashtag, platform or mix is invalid.
        """
        named = {"k": self.k, "platform": self.platform}
        given = {name: value for name, value in named.items() if value}
        return self.options.model_copy(update=given).selection()


class AskedJson(Asked):
    """A question as JSON."""

    image: Annotated[
        str | None,
        Field(description="A picture in Base64; it is not stored."),
    ] = None

    def picture(self) -> bytes | None:
        """Return the picture's bytes.

        Raises:
            InputError: it is not in Base64.
        """
        if self.image is None:
            return None
        # Browsers write `data:image/png;base64,...`.
        head, comma, body = self.image.partition(",")
        text = (
            body if comma and head.startswith("data:") and head.endswith(";base64") else self.image
        )
        try:
            return b64decode(text, validate=True)
        except ValueError as error:
            raise InputError(
                f"image: found no Base64 ({error}), expected a picture in it"
            ) from error


class AskedForm(Asked):
    """A question as a form; fields other than text are JSON, and empty fields are left out."""

    model_config = ConfigDict(extra="ignore")

    topics: Annotated[Json[Topics], Field(description="JSON: topics set by hand.")] = {}
    options: Annotated[Json[Options], Field(description="JSON: all other options.")] = Options()


def problems_of(errors: Sequence[Any]) -> str:
    """Return the problems that pydantic found as one line; `all` stands for the whole body."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc'][:5]))[:100] or 'all'}: {each['msg'][:200]}"
        for each in errors[:MAX_PROBLEMS]
    )


def query_of(
    picture: Upload | None, caption: str, seeds: Sequence[str], topics: dict[str, float]
) -> Query:
    """Return a query; hashtags in the caption count as seeds.

    Raises:
        InputError: nothing is given, a seed is no hashtag, or the topics cannot be.
    """
    given = [seed for seed in seeds if seed.strip()]  # a form sends empty fields, too
    tags = tuple(dict.fromkeys(map(key, [*given, *extract(caption)])))
    if len(tags) > MOST_SEEDS:
        raise InputError(
            f"found {len(tags)} seeds and hashtags in the caption, at most {MOST_SEEDS}"
        )
    path = picture.path if picture else None
    return Query(path, strip(caption), tags, tuple(topics.items()))


class EvidenceForm(BaseModel):
    """What one channel said for a hashtag."""

    channel: str
    share: float
    posts: list[str]


class TagForm(BaseModel):
    """A recommended hashtag."""

    tag: str
    display: str
    probability: float
    young: bool = False
    tier: str
    reason: str
    evidence: list[EvidenceForm]


class TopicForm(BaseModel):
    """A topic and its probability."""

    topic: str
    probability: float


class AnswerForm(BaseModel):
    """The JSON of `hashlens recommend --json`."""

    format: int
    id: str | None
    tags: list[TagForm]
    topics: list[TopicForm]
    inputs: list[str]
    notes: list[str]


class BatchForm(BaseModel):
    """The lines of `hashlens batch`, in order; a row that failed has `error` and no tags."""

    format: int
    answers: list[dict[str, Any]]


class ErrorForm(BaseModel):
    """Why there is no answer."""

    format: int
    error: str
