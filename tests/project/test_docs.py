"""The documents against the program: every command and option that one names, the other has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand

from hashlens.cli import app
from hashlens.retriever.index.default import FIRST_STEPS

ROOT = Path(__file__).parents[2]
COMMANDS: dict[str, TyperCommand] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)
OPTIONS = ("README.md", *(name for name in DOCUMENTS if name.startswith("docs/")))
FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL_ENDS = {"|", ">", ">>", "2>", "&&", "||", ";", "&"}

commands = pytest.mark.parametrize("name", COMMANDS)
documents = pytest.mark.parametrize("document", DOCUMENTS)


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def calls(text: str, program: str) -> Iterator[list[str]]:
    """Words after `program` on each line of a code block that starts with it."""
    for block in FENCED.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("$ ")
            if line.startswith(f"{program} "):
                words = shlex.split(line, comments=True)[1:]
                end = next((i for i, word in enumerate(words) if word in SHELL_ENDS), len(words))
                yield words[:end]


def test_calls_are_read_as_a_shell_reads_them() -> None:
    text = "```sh\n$ hashlens a --x 1 \\\n    --y 'b c' | jq .tags\nhashlens d # --not\n```\n"
    assert list(calls(text, "hashlens")) == [["a", "--x", "1", "--y", "b c"], ["d"]]


@commands
def test_every_command_and_parameter_says_what_it_is_for(name: str) -> None:
    command = COMMANDS[name]
    assert (command.help or "").strip()
    silent = [param.name for param in command.params if not getattr(param, "help", None)]
    assert silent == []


@commands
def test_every_command_stands_in_the_list_of_commands(name: str) -> None:
    assert re.search(rf"\bhashlens {re.escape(name)}\b", text_of("docs/cli.md"))


@commands
def test_every_option_stands_in_the_documents(name: str) -> None:
    text = "\n".join(map(text_of, OPTIONS))
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text))
    options = {max(p.opts, key=len) for p in COMMANDS[name].params if p.opts[0].startswith("-")}
    assert options - {"--help"} - named == set()


@commands
def test_every_command_teaches_with_a_call_that_it_takes(name: str) -> None:
    examples = re.findall(rf"^Example: `hashlens ({name} ?.*)`$", COMMANDS[name].help or "", re.M)
    assert examples
    for words in map(shlex.split, examples):
        COMMANDS[name].make_context(f"hashlens {name}", words[1:])


def test_the_first_steps_are_calls_that_the_program_takes() -> None:
    for call, what in FIRST_STEPS:
        program, name, *words = shlex.split(call)
        assert program == "hashlens"
        assert what
        COMMANDS[name].make_context(call, words)


@documents
def test_every_call_in_a_code_block_is_one_the_program_takes(document: str) -> None:
    for name, *words in calls(text_of(document), "hashlens"):
        if name.startswith("-") or {"-h", "--help"} & set(words):
            continue
        assert name in COMMANDS, f"{document}: no command `hashlens {name}`"
        # Parses without running: raises where an option is unknown or an argument is missing.
        COMMANDS[name].make_context(f"{document}: hashlens {name}", words)


@documents
def test_every_make_target_a_document_names_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`", text_of(document)))
    named |= {words[0] for words in calls(text_of(document), "make") if words}
    assert {word for word in named if "=" not in word} - targets == set()


@documents
def test_every_link_of_a_document_leads_to_a_file(document: str) -> None:
    folder = (ROOT / document).parent
    links = re.findall(r"\]\(([^)#\s]+)", text_of(document))
    files = [link for link in links if not link.startswith("http")]
    assert [link for link in files if not (folder / link).exists()] == []


def test_the_documents_are_short_enough_to_be_read() -> None:
    sizes = {name: len(text_of(name).encode()) for name in ("README.md", "CONTRIBUTING.md")}
    assert sizes["README.md"] <= 9_000
    assert sizes["CONTRIBUTING.md"] <= 7_000
