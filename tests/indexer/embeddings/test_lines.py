"""Lines of a file: a search in its bytes and one in a dict agree."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashlens.indexer.embeddings.lines import MAX_SEARCHES, Lines
from hashlens.indexer.errors import IndexCorruptError

WORDS = st.text(st.characters(exclude_characters="\n", codec=None), max_size=5)


@given(st.lists(WORDS, unique=True, max_size=40), st.lists(WORDS, max_size=10))
def test_bytes_and_held_lines_say_the_same(tmp_path_factory, words, others):
    path = tmp_path_factory.mktemp("lines") / "words.txt"
    path.write_bytes("".join(f"{word}\n" for word in words).encode("utf-8", "surrogatepass"))
    lines = Lines(path)
    asked = [*others, *words[::2], "a\nb"]
    true = {word: words.index(word) for word in asked if word in words}
    for _ in range(MAX_SEARCHES + 2 if asked else 1):
        places = lines.places(asked)
        assert {word: places[word] for word in asked if word in places} == true
    assert list(lines) == words
    assert len(lines) == len(words)
    assert lines[1:3] == tuple(words[1:3])


def test_two_lines_are_not_one_with_a_break(tmp_path):
    (tmp_path / "words.txt").write_text("sea\nsand\n")
    assert Lines(tmp_path / "words.txt").places(["sea\nsand", "sand"]) == {"sand": 1}


@pytest.mark.parametrize(
    ("held", "says"),
    [(b"sea\nsa", "cut short"), (b"sea\n\xff\n", "utf-8"), (b"sea\nsea\n", "1 lines come twice")],
)
def test_harmed_files_are_named(tmp_path, held, says):
    (tmp_path / "words.txt").write_bytes(held)
    with pytest.raises(IndexCorruptError, match=rf"words\.txt: cannot be read \(.*{says}"):
        asked_often(tmp_path / "words.txt")


def asked_often(path: Path) -> None:
    lines = Lines(path)
    for _ in range(MAX_SEARCHES + 1):
        lines.places(["sea"])
