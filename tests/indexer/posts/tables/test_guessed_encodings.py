"""Tables in the encodings of spreadsheets of many countries, guessed from real sentences."""

from __future__ import annotations

from pathlib import Path

import pytest

from hashlens.indexer.posts.tables.encodings import GUESSED
from tests.support.scrape_files import put, read

SENTENCES = {
    "russian": ("Вечер на озере, тишина и туман #озеро", "Испекли яблочный пирог #пирог"),
    "bulgarian": ("Вечер край езерото, тишина и мъгла #езеро", "Днес опекохме пай #ябълка"),
    "ukrainian": ("Вечір на озері, тиша й туман #озеро", "Сьогодні спекли пиріг #пиріг"),
    "greek": ("Βράδυ στη λίμνη, ησυχία και ομίχλη #λίμνη", "Σήμερα ψήσαμε μηλόπιτα #πίτα"),
    "japanese": ("湖の夕暮れ、とても静かです #湖", "今日はりんごのケーキを焼きました #ケーキ"),
    "simplified": ("湖边的傍晚，非常安静 #湖", "今天用奶奶的食谱烤了苹果派 #苹果派"),
    "traditional": ("湖邊的傍晚，非常安靜 #湖", "今天用奶奶的食譜烤了蘋果派 #蘋果派"),
    "korean": ("호수의 저녁, 아주 조용해요 #호수", "오늘 사과 파이를 구웠어요 #파이"),
    "czech": ("Večer u jezera, ticho a mlha nad hladinou #podzim", "Upekli jsme koláč #koláč"),
    "polish": ("Wieczór nad jeziorem, cisza i mgła #jesień", "Dziś upiekliśmy szarlotkę #ciasto"),
    "hungarian": ("Este a tónál, csend és köd #ősz", "Ma almás pitét sütöttünk #sütemény"),
    "croatian": ("Večer uz jezero, tišina i magla #večer", "Danas smo pekli kolač #kolač"),
    "turkish": ("Göl kenarında akşam, sessizlik #göl", "Elmalı turta yaptık, güzel oldu #ıspanak"),
    "german": ("Stille und Nebel über dem Wasser #seeblick", "Die Größe täuscht, müde #süß"),
    "french": ("Soir d’été au bord du lac, très calme #été", "Gâteau façon grand-mère #gâteau"),
    "spanish": ("Silencio y niebla; mañana más #otoño", "Hoy horneamos según la receta #pastel"),
    "portuguese": ("Noite à beira do lago, silêncio e névoa #manhã", "Torta de maçã #avó"),
    "swedish": ("Kväll vid sjön, tystnad och dimma #sjö", "I dag bakade vi äppelkaka #fika"),
    "danish": ("Aften ved søen #sø", "Æblekage efter bedstemors opskrift på køkkenbordet #kage"),
}
ENCODED = [
    ("russian", "cp1251"),
    ("russian", "koi8_r"),
    ("bulgarian", "cp1251"),
    ("ukrainian", "cp1251"),
    ("greek", "cp1253"),
    ("japanese", "cp932"),
    ("simplified", "gb18030"),
    ("traditional", "big5"),
    ("korean", "cp949"),
    *((language, "cp1250") for language in ("czech", "polish", "hungarian", "croatian")),
    ("turkish", "cp1254"),
    *((language, "cp1252") for language in ("german", "french", "spanish", "portuguese")),
    *((language, "cp1252") for language in ("swedish", "danish")),
]


@pytest.mark.parametrize(("language", "encoding"), ENCODED)
@pytest.mark.parametrize("times", [1, 2000])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_sentences_are_read_as_they_were_written(
    tmp_path: Path, language: str, encoding: str, times: int, delimiter: str
) -> None:
    sentences = SENTENCES[language]
    lines = [f'{n}{delimiter}"{sentences[n % 2]}"' for n in range(2 * times)]
    english = [f"{n}{delimiter}A walk #walk" for n in range(-times, 0)]
    text = "\r\n".join([f"id{delimiter}caption", *english, *lines, ""])
    posts, (note,) = read(put(tmp_path / "a.csv", text.encode(encoding)))
    assert note.reason == (
        f"read as {GUESSED[encoding]}, since it is not UTF-8 "
        "(if letters are wrong, save it as UTF-8)"
    )
    assert {post.caption for post in posts[times:]} == {
        sentence.partition(" #")[0] for sentence in sentences
    }


def test_several_western_languages_in_one_file(tmp_path: Path) -> None:
    names = ("german", "french", "spanish", "portuguese", "swedish", "danish")
    sentences = [sentence for name in names for sentence in SENTENCES[name]]
    text = "".join(f'{n},"{each}"\n' for n, each in enumerate(sentences))
    posts, (note,) = read(put(tmp_path / "a.csv", f"id,caption\n{text}".encode("cp1252")))
    assert "Windows-1252" in note.reason
    assert [post.caption for post in posts] == [each.partition(" #")[0] for each in sentences]


@pytest.mark.parametrize("text", ["café", "Größe — 5 € “gut”", "l’été", "ÜBER ALLES", "naïve"])
def test_a_single_word_is_western(tmp_path: Path, text: str) -> None:
    (post,), (note,) = read(put(tmp_path / "a.csv", f"id,caption\n1,{text}\n".encode("cp1252")))
    assert (post.caption, "Windows-1252" in note.reason) == (text, True)


def test_utf_8_with_damaged_lines_is_not_guessed(tmp_path: Path) -> None:
    lines = [f"{n},{SENTENCES['russian'][n % 2]}\n".encode() for n in range(9)]
    content = b"id,caption\n" + b"".join(lines) + b"9,\xff\xfe\xf0\n"
    posts, (lost,) = read(put(tmp_path / "a.csv", content.replace("озере, ".encode(), b"")))
    assert (len(posts), lost.line, lost.post_kept) == (9, 11, False)
