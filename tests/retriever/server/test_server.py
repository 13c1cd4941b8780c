"""The JSON API over the index of the sample posts: its answers are those of the recommender."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from typer.testing import CliRunner

from hashlens.cli import app
from hashlens.indexer.config import BuildConfig, VectorConfig
from hashlens.indexer.pipeline.build import build
from hashlens.retriever.index.version import program_version
from hashlens.retriever.recommendation import Query
from hashlens.retriever.recommender import Recommender
from hashlens.retriever.server.app import create_app
from hashlens.retriever.server.middleware import Rules
from tests.support.web_client import CAPTION, fields, opened


@pytest.fixture(scope="module")
def client(sample_index: Path) -> Iterator[TestClient]:
    with opened(sample_index) as client:
        yield client


@pytest.fixture(scope="module")
def cat(sample_folder: Path) -> Path:
    return next(sample_folder.rglob("cat.png"))


def asked(client: TestClient, **values: Any) -> dict[str, Any]:
    answer = client.post("/v1/recommend", **fields(**values))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def keys(answer: dict[str, Any]) -> list[str]:
    return [tag["tag"] for tag in answer["tags"]]


def close(found: Any, wanted: Any) -> bool:
    """Whether two JSON values are the same, numbers nearly."""
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(close(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(close, found, wanted))
    if isinstance(wanted, float):
        return bool(found == pytest.approx(wanted, rel=1e-3, abs=1e-4))
    return bool(found == wanted)


def test_the_answer_is_that_of_recommend_json(
    client: TestClient, sample_index: Path, cat: Path
) -> None:
    words = ["--image", str(cat), "--caption", CAPTION, "--seed", "catsofinstagram", "-k", "7"]
    words += ["--platform", "youtube", "--block", "love", "--pin", "ours", "--diversity", "0.3"]
    words += ["--author", "a01"]
    result = CliRunner().invoke(app, ["recommend", *words, "--index", str(sample_index), "--json"])
    found = asked(
        client,
        image=cat.read_bytes(),
        caption=CAPTION,
        seeds=["catsofinstagram"],
        k=7,
        platform="youtube",
        options={"block": ["#Love"], "pin": ["ours"], "diversity": 0.3, "author": "a01"},
    )
    printed = json.loads(result.stdout)
    # A client is not told of the server's folders, and reads the version in /v1/index.
    assert printed.pop("index") == str(sample_index)
    assert printed.pop("version") == program_version()
    assert close(found, printed)


def test_hashtags_in_the_caption_are_seeds(client: TestClient) -> None:
    assert asked(client, caption="mm #coffee")["inputs"] == ["caption", "seeds"]


def test_telling_why_is_left_out_where_it_is_not_wanted(client: TestClient) -> None:
    told, short = asked(client, caption=CAPTION), asked(client, caption=CAPTION, explain="false")
    assert keys(told) == keys(short)
    assert any(part["posts"] for tag in told["tags"] for part in tag["evidence"])
    assert not any(tag["evidence"] for tag in short["tags"])


def test_topics_set_by_hand_are_taken_and_the_rest_is_shared(client: TestClient) -> None:
    before = asked(client, caption=CAPTION, k=20)
    after = asked(client, caption=CAPTION, k=20, topics={"pets": 0.7, "food": 0.1})
    was = {one["topic"]: one["probability"] for one in before["topics"]}
    now = {one["topic"]: one["probability"] for one in after["topics"]}
    assert (now["pets"], now["food"]) == pytest.approx((0.7, 0.1), abs=1e-3)
    others = set(was) - {"pets", "food"}
    share = 0.2 / sum(was[topic] for topic in others)
    for topic in others:
        assert now[topic] == pytest.approx(was[topic] * share, abs=1e-3)
    assert keys(before) != keys(after)


@pytest.mark.parametrize(
    ("topics", "said"),
    [({"gardens": 0.5}, "gardens"), ({"pets": 0.7, "food": 0.7}, "come to 1"), ({"pets": 7}, "1")],
)
def test_topics_that_cannot_be_are_refused(
    client: TestClient, topics: dict[str, float], said: str
) -> None:
    answer = client.post("/v1/recommend", **fields(caption=CAPTION, topics=topics))
    assert answer.status_code in (400, 422)
    assert said in answer.json()["error"]


def test_topics_all_set_to_nothing_are_refused(client: TestClient) -> None:
    names = [one["topic"] for one in client.get("/v1/index").json()["topics"]]
    wanted = fields(caption=CAPTION, topics=dict.fromkeys(names, 0))
    answer = client.post("/v1/recommend", **wanted)
    assert answer.status_code == 400
    assert "all of them 0" in answer.json()["error"]


def test_a_batch_answers_in_order_and_goes_on_after_a_failure(
    client: TestClient, sample_index: Path
) -> None:
    rows = [{"id": "a", "caption": CAPTION}, {"seeds": ["not a tag"]}, {"seeds": ["travel"]}]
    many = [*rows, *({"id": f"n{n}", "caption": f"walk {n}"} for n in range(20))]
    asked_for = {"rows": many, "options": {"k": 3}}
    answers = client.post("/v1/recommend/batch", json=asked_for).json()["answers"]
    assert [row["id"] for row in answers[:4]] == ["a", "2", "3", "n0"]
    assert len(answers) == 23
    assert "not a tag" in answers[1]["error"]
    alone = Recommender.open(sample_index).recommend(Query(caption=CAPTION), 3)
    assert keys(answers[0]) == [tag.tag for tag in alone.tags]
    assert set(answers[0]) == {"id", "tags", "topics"}


def test_a_hashtag_tells_its_counts_and_what_goes_with_it(
    client: TestClient, sample_index: Path
) -> None:
    found = client.get("/v1/hashtags/Coffee").json()
    store = Recommender.open(sample_index).index.store
    ((posts, authors),) = store.rows(
        "select posts, authors from hashtag_counts where key = 'coffee'"
    )
    assert (found["tag"], found["posts"], found["authors"]) == ("coffee", posts, authors)
    best, *_ = found["goes_with"]
    ((together,),) = store.rows(
        """select posts from cooccurrences c join hashtags a using (tag_id)
        join hashtags b on b.tag_id = other_id where a.key = 'coffee' and b.key = ?""",
        [best["tag"]],
    )
    assert best["posts"] == together
    assert found["neighbours"][0]["topic"] == "all"
    for near in found["neighbours"]:
        assert "coffee" not in [tag["tag"] for tag in near["tags"]]
    assert client.get("/v1/hashtags/nobodysaidthis").status_code == 404
    assert client.get("/v1/hashtags/not%20one").status_code == 400


def test_search_completes_by_use(client: TestClient, sample_index: Path) -> None:
    found = client.get("/v1/search", params={"q": "#Co"}).json()["tags"]
    assert found
    assert all(tag["tag"].startswith("co") for tag in found)
    assert [tag["posts"] for tag in found] == sorted((t["posts"] for t in found), reverse=True)
    assert client.get("/v1/search", params={"q": "100"}).status_code == 200
    assert client.get("/v1/search", params={"q": "%"}).json()["tags"] == []
    assert client.get("/v1/search").status_code == 422


def test_the_index_and_the_platforms_are_told(client: TestClient) -> None:
    found = client.get("/v1/index").json()
    assert found["encoder"] == "efficientnet-lite0"
    assert found["version"] == program_version()
    assert len(found["topics"]) == 10
    (instagram,) = [one for one in found["platforms"] if one["name"] == "instagram"]
    assert instagram["limit"] == 5


def test_posts_behind_a_hashtag_are_shown_with_their_pictures(
    client: TestClient, sample_index: Path, sample_folder: Path
) -> None:
    store = Recommender.open(sample_index).index.store
    ((post,),) = store.rows("select post_id from posts where image like '%cat.png'")
    found = client.get(f"/v1/posts/{post}").json()
    assert found["picture"]
    assert found["hashtags"][0].startswith("#")
    small = client.get(f"/v1/posts/{post}/thumbnail")
    assert small.headers["content-type"] == "image/jpeg"
    assert max(Image.open(BytesIO(small.content)).size) == 160
    ((bare,),) = store.rows("select post_id from posts where image is null limit 1")
    for missing in (bare, "nobody", "../../etc/passwd", "/etc/passwd"):
        assert client.get(f"/v1/posts/{missing}/thumbnail").status_code == 404


def test_health_metrics_and_documents_need_nothing_from_outside(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "generation": 1}
    told = client.get("/metrics").text
    assert 'hashlens_requests_total{route="/healthz",status="200"}' in told
    assert CAPTION not in told
    for page in ("/", "/docs"):
        text = client.get(page).text
        assert "http://" not in text.replace("http://www.w3.org", "")
        assert "https://" not in text
    assert set(client.get("/openapi.json").json()["paths"]) >= {"/v1/recommend", "/v1/search"}


def test_files_of_the_page_are_served_by_name_alone(client: TestClient) -> None:
    found = client.get("/page/page.js")
    assert found.headers["content-type"].startswith("text/javascript")
    again = client.get("/page/page.js", headers={"If-None-Match": found.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("none.js", "..%2Fserver.py", "%2e%2e/server.py"):
        assert client.get(f"/page/{name}").status_code == 404


PNG_FIELDS = (
    b'name="image"',
    b"name=\"image\"; filename*=UTF-8''%E7%8C%AB.png",
    b'name="image"; filename=""',
    b'name="image"; filename="cat.png"',
)


@pytest.mark.parametrize("named", PNG_FIELDS)
def test_a_picture_is_one_whatever_name_its_part_has(
    client: TestClient, cat: Path, named: bytes
) -> None:
    body = b"--X\r\nContent-Disposition: form-data; %b\r\nContent-Type: image/png\r\n\r\n" % named
    body += cat.read_bytes() + b"\r\n--X--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=X"}
    answer = client.post("/v1/recommend", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json() == asked(client, image=cat.read_bytes())


def test_empty_fields_of_a_form_are_left_out(client: TestClient) -> None:
    empty = dict.fromkeys(("seeds", "k", "platform", "topics", "options", "explain"), "")
    files = [(name, (None, value)) for name, value in ({"caption": CAPTION} | empty).items()]
    none_chosen = ("image", ("", b"", "application/octet-stream"))
    answer = client.post("/v1/recommend", files=[*files, none_chosen])
    assert answer.status_code == 200, answer.text
    assert answer.json() == asked(client, caption=CAPTION)
    two = asked(client, caption=CAPTION, seeds=["", "coffee", " "])
    assert two == asked(client, caption=CAPTION, seeds=["coffee"])


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
def test_json_is_answered_as_a_form_is(client: TestClient, cat: Path, head: str) -> None:
    wanted = {"caption": CAPTION, "seeds": ["travel"], "k": 7, "explain": False}
    more = {"topics": {"pets": 0.7}, "options": {"block": ["love"]}}
    picture = head + b64encode(cat.read_bytes()).decode()
    for sent, field in (({}, {}), ({"image": picture}, {"image": cat.read_bytes()})):
        answer = client.post("/v1/recommend", json=wanted | more | sent)
        assert answer.status_code == 200, answer.text
        assert close(answer.json(), asked(client, **wanted, **more, **field))


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, {"image": "no base64!"}, "image: found no Base64"),
        (400, {"image": b64encode(b"no picture").decode()}, "the picture"),
        (400, {}, ""),
        (422, {"caption": None}, "caption: "),
        (422, {"caption": CAPTION, "colour": "red"}, "colour: "),
        (422, {"caption": CAPTION, "options": "{}"}, "options: "),
        (422, [], "all: Input should be an object"),
    ],
)
def test_json_that_cannot_be_answered_is_refused(
    client: TestClient, status: int, body: Any, said: str
) -> None:
    answer = client.post("/v1/recommend", json=body)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]
    assert "/proc" not in answer.text


def test_a_bad_row_of_a_batch_is_that_rows_error(client: TestClient) -> None:
    rows: list[Any] = [
        *({"id": "a", "caption": CAPTION}, {"id": "b", "caption": None}, 7, {"colour": "red"}),
        *({"id": "c", "seeds": ["x"] * 31}, {"id": "d", "caption": "x" * 10_001}, {"id": 5}),
        {"id": "e", "topics": {"pets": 2}},
        {"id": "f", "caption": CAPTION},
    ]
    answer = client.post("/v1/recommend/batch", json={"rows": rows})
    assert answer.status_code == 200, answer.text
    answers = answer.json()["answers"]
    assert [row["id"] for row in answers] == ["a", "b", "3", "4", "c", "d", "7", "e", "f"]
    assert ["error" in row for row in answers] == [False, *[True] * 7, False]
    assert answers[1] == {"id": "b", "error": "caption: Input should be a valid string"}
    assert keys(answers[0]) == keys(answers[-1])
    assert client.post("/v1/recommend/batch", json={"rows": [{}] * 257}).status_code == 422


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/healthz", "/v1/index", "/page/page.js", "/metrics"]
)
def test_head_is_answered_as_get_without_a_body(client: TestClient, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]
    assert client.head("/v1/recommend").status_code == 405


ODD_IDS = (
    "two\nlines",
    "a/b",
    "a\n/b",
    "x/thumbnail",
    "x",
    "a\r\n\r\nb",
    "a?b#c",
    "50%",
    "a/thumbnail/b",
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """An index of posts with ids that a path does not hold as they are."""
    folder = tmp_path_factory.mktemp("odd")
    rows = [
        {"id": i, "author": f"a{n}", "caption": f"walk {n} #dog"} for n, i in enumerate(ODD_IDS)
    ]
    (folder / "posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = BuildConfig(vectors=VectorConfig("word2vec", 8, min_count=1, epochs=1))
    build([folder / "posts.jsonl"], folder / "index", config=config)
    with opened(folder / "index") as client:
        yield client


@pytest.mark.parametrize(("number", "post_id"), list(enumerate(ODD_IDS)))
def test_posts_are_reached_by_any_id(odd: TestClient, number: int, post_id: str) -> None:
    path = f"/v1/posts/{quote(post_id, safe='')}"
    answer = odd.get(path)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["id"], answer.json()["caption"]) == (post_id, f"walk {number}")
    small = odd.get(f"{path}/thumbnail")
    assert small.json()["error"] == "found no picture of such a post"


def test_the_page_and_the_api_stand_below_a_root_path(sample_index: Path) -> None:
    app = create_app(sample_index, rules=Rules(api_key="sesame"), root_path="/tags")
    with TestClient(app, base_url="http://localhost") as client:
        for root in ("", "/tags"):  # proxies strip it, or not
            page = client.get(f"{root}/")
            assert page.status_code == 200
            assert client.get(f"{root}/page/page.js").status_code == 200
            assert client.get(f"{root}/v1/index").status_code == 401
            key = {"Authorization": "Bearer sesame"}
            assert client.get(f"{root}/v1/index", headers=key).status_code == 200
            wrong = client.post(f"{root}/v1/recommend", content=b"x", headers=key)
            assert wrong.status_code == 415
        for name in ("/", "/docs"):
            assert not re.findall(r"""(?:href|src)=["']/""", client.get(name).text)
