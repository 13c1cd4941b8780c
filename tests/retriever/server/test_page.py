"""The page in real headless Chromium, against a server in a process of its own.

Debian's Chromium is enough (`apt-get install chromium`); without one these tests skip.
"""

from __future__ import annotations

import base64
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.web_client import CAPTION, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("playwright", reason="needs playwright: pip install -e '.[dev]'")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
if not CHROMIUM:
    pytest.skip("needs Chromium: apt-get install chromium", allow_module_level=True)

DROP = """(encoded) => {
    const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "cat.png", { type: "image/png" }));
    document.querySelector("#photo").dispatchEvent(
        new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""
PASTE = """(encoded) => {
    const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "cat.png", { type: "image/png" }));
    document.body.dispatchEvent(
        new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Containers seldom allow Chromium its sandbox; only our own page is opened.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(sample_index: Path) -> Iterator[str]:
    with served(sample_index) as (address, _):
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page, whose errors, and requests to anywhere else, fail the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    page = context.new_page()
    errors: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    yield page
    context.close()
    assert errors == []
    assert [url for url in asked if not url.startswith((address, f"blob:{address}"))] == []


def until(page: Page, expression: str, seconds: float = 15) -> None:
    """Wait until an expression holds; Playwright's own way needs `eval`, which the page forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never came true: {expression}"
        page.wait_for_timeout(20)


def offered(page: Page, tag: str, *, there: bool = True) -> None:
    """Wait until a hashtag is among the chips, or no longer is."""
    end = time.monotonic() + 15
    while (tag in chips(page)) is not there:
        assert time.monotonic() < end, f"{tag} there: {not there}"
        page.wait_for_timeout(20)


def settled(page: Page) -> None:
    """Wait until nothing is asked."""
    page.wait_for_timeout(200)
    until(page, "!document.body.classList.contains('waiting')")


def chips(page: Page) -> list[str]:
    return [text.removesuffix(" ✓") for text in page.locator(".chip strong").all_inner_texts()]


def picture(folder: Path) -> str:
    return base64.b64encode(next(folder.rglob("cat.png")).read_bytes()).decode()


def topic(page: Page, name: str) -> int:
    return int(page.get_by_label(name, exact=True).input_value())


def test_from_photo_and_caption_to_the_copied_line(page: Page, sample_folder: Path) -> None:
    page.evaluate(DROP, picture(sample_folder))
    page.wait_for_selector(".chip")
    assert page.locator("#photo-shown").is_visible()
    page.fill("#caption", "our cat at breakfast")
    offered(page, "#cat")
    page.select_option("#platform", "instagram")
    page.locator(".chip", has_text="#cat").first.click()
    assert page.locator("#counter").inner_text() == "1 of 5 on instagram"
    page.locator('.chip[aria-pressed="false"]').first.click()
    names = page.locator("#taken li button:first-child").all_inner_texts()
    tags = [name.removesuffix(" ×") for name in names]
    assert tags[0] == "#cat"
    page.get_by_text("Copy as one line").click()
    until(page, "document.querySelector('#copied').textContent")
    assert page.evaluate("navigator.clipboard.readText()") == " ".join(tags)
    page.get_by_text("Copy with line breaks").click()
    page.wait_for_timeout(100)
    assert page.evaluate("navigator.clipboard.readText()") == "\n".join(tags)


def test_a_taken_hashtag_becomes_a_seed_at_a_touch(page: Page) -> None:
    page.fill("#caption", CAPTION)
    page.wait_for_selector(".chip")
    first = chips(page)[0]
    page.locator(".chip").first.click()
    page.get_by_label(f"Use {first} as a seed").click()
    offered(page, first, there=False)
    assert page.get_by_label(f"Remove the seed {first.lower()}").is_visible()


def test_a_pasted_photo_is_looked_at_and_can_be_removed(page: Page, sample_folder: Path) -> None:
    page.evaluate(PASTE, picture(sample_folder))
    page.wait_for_selector(".chip")
    page.locator("#photo-remove").click()
    page.wait_for_selector(".chip", state="detached")


def test_topics_can_be_corrected_by_hand(page: Page) -> None:
    page.fill("#caption", CAPTION)
    page.wait_for_selector(".chip")
    told = page.locator("#said").inner_text()
    page.get_by_label("travel", exact=True).fill("90")
    until(page, f"document.querySelector('#said').textContent !== {told!r}")
    assert topic(page, "travel") == 90
    assert topic(page, "food") <= 10
    page.get_by_text("Back to what is seen").click()
    until(page, f"document.querySelector('#said').textContent === {told!r}")


def test_why_shows_posts_and_their_pictures_and_can_block(page: Page, sample_folder: Path) -> None:
    page.evaluate(DROP, picture(sample_folder))
    page.wait_for_selector(".chip")
    first = chips(page)[0]
    page.get_by_label(f"Why {first}", exact=True).click()
    panel = page.locator("#why")
    panel.get_by_text("Goes with").wait_for()
    assert panel.locator("meter").count() > 1
    page.wait_for_selector("#why img")
    panel.get_by_text("Block").click()
    offered(page, first, there=False)
    page.reload()  # it is kept
    page.evaluate(DROP, picture(sample_folder))
    page.wait_for_selector(".chip")
    assert first not in chips(page)
    page.get_by_text("Blocked and pinned").click()
    page.get_by_text("Undo").click()
    offered(page, first)


def test_sets_are_saved_in_the_browser(page: Page) -> None:
    page.fill("#caption", CAPTION)
    page.wait_for_selector(".chip")
    first = chips(page)[0]
    page.locator(".chip").first.click()
    page.get_by_text("Saved sets").click()
    page.fill("#set-name", "<b>mornings</b>")
    page.get_by_text("Save what is taken").click()
    page.reload()
    page.get_by_text("Saved sets").click()
    assert page.locator("#sets span").inner_text() == f"<b>mornings</b>: {first}"
    page.locator("#sets").get_by_text("Take", exact=True).click()
    assert page.locator("#taken").inner_text().startswith(first)


def test_the_account_that_asks_is_kept_in_the_browser(page: Page) -> None:
    page.fill("#caption", "a quiet day")
    page.wait_for_selector(".chip")
    assert not page.get_by_text("from what you use").count()
    page.fill("#author", "a01")
    page.locator("#author").blur()
    page.get_by_text("from what you use").first.wait_for()
    page.reload()
    page.fill("#caption", "a quiet day")
    page.get_by_text("from what you use").first.wait_for()
    assert page.input_value("#author") == "a01"
    page.fill("#author", "nobody_here")
    page.locator("#author").blur()
    page.locator("#notes").get_by_text("'nobody_here'").wait_for()
    settled(page)
    assert not page.get_by_text("from what you use").count()


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    page.focus("#caption")
    page.keyboard.type("walking my dog")
    page.keyboard.press("Tab")
    page.keyboard.type("trav")
    page.wait_for_selector("[role=option]")
    page.keyboard.press("ArrowDown")
    shown = page.locator('[role=option][aria-selected="true"] span').inner_text()
    page.keyboard.press("Enter")
    assert page.locator("#seeds").inner_text().lower().startswith(shown.lower())
    page.wait_for_selector(".chip")
    settled(page)
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('chip')"):
            break
    page.keyboard.press("Space")
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#why:not([hidden])")
    assert page.evaluate("document.activeElement.id") == "why"
    page.keyboard.press("Escape")
    assert page.locator("#why").is_hidden()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Why ")


def test_a_phone_and_the_dark_are_served(browser: Browser, address: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page = context.new_page()
    page.goto(address)
    page.fill("#caption", f"{CAPTION} {'long' * 40}")
    page.wait_for_selector(".chip")
    page.locator("#chips li").first.get_by_role("button", name="Why").click()
    page.get_by_text("Goes with").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    red, *_ = re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert int(red) < 60
    small = """[...document.querySelectorAll("main button, main select")]
        .filter((one) => one.offsetParent && one.getBoundingClientRect().height < 24).length"""
    assert page.evaluate(small) == 0
    context.close()


def test_a_server_that_goes_and_comes_back(browser: Browser, sample_index: Path) -> None:
    page = browser.new_page()
    with served(sample_index) as (address, _):
        page.goto(address)
        until(page, "document.querySelector('#state').textContent === 'Ready'")
    page.fill("#caption", CAPTION)
    page.get_by_role("alert").get_by_text("does not answer").wait_for()
    port = address.rpartition(":")[2]
    with served(sample_index, "--port", port):
        page.wait_for_selector(".chip", timeout=20_000)
        assert page.get_by_role("alert").is_hidden()
    page.close()


def test_a_key_is_asked_for_and_kept_for_the_tab(browser: Browser, sample_index: Path) -> None:
    page = browser.new_page()
    with served(sample_index, "--api-key", "sesame") as (address, _):
        page.goto(address)
        page.fill("#key", "wrong")
        page.keyboard.press("Enter")
        page.get_by_role("alert").get_by_text("no valid API key").wait_for()
        page.fill("#key", "sesame")
        page.keyboard.press("Enter")
        until(page, "document.querySelector('#state').textContent === 'Ready'")
        page.reload()
        page.fill("#caption", CAPTION)
        page.wait_for_selector(".chip")
    page.close()


def test_the_first_answer_follows_the_last_key_soon(page: Page) -> None:
    page.fill("#caption", "warm")
    page.wait_for_selector(".chip")
    page.focus("#caption")
    page.keyboard.type(" up, then coffee and cake")
    last = time.perf_counter()
    until(page, "document.querySelector('#said').textContent.includes('coffee')")
    # 0.3 s on an idle machine; a busy one may take longer.
    assert time.perf_counter() - last < 3


def test_axe_finds_no_serious_fault(page: Page) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python")
    rules = next(Path(axe.__file__).parent.rglob("axe.min.js")).read_text()
    page.fill("#caption", CAPTION)
    page.wait_for_selector(".chip")
    page.locator(".chip").first.click()
    page.get_by_role("button", name="Why").first.click()
    page.get_by_text("Goes with").wait_for()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(rules)
        found = page.evaluate("axe.run()")["violations"]
        assert [(one["id"], one["impact"]) for one in found] == []
