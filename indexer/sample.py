"""The bundled sample posts and their pictures, copied into a folder."""

from __future__ import annotations

import filecmp
import shutil
import tomllib
from importlib.util import find_spec
from pathlib import Path

from hashlens.indexer.config import data_path
from hashlens.indexer.errors import InputError
from hashlens.indexer.file_io import replace_file

LATER = "later.jsonl"  # newer posts, to update an index with
PICTURES = "pictures"  # folder of the posts' `image` fields


def gather_sample(folder: Path) -> Path:
    """Copy the sample posts and their pictures into `folder`, ready for `build`.

    The pictures are those that installed packages carry, as `data/sample/pictures.toml` lists
    them. A second call for the same folder changes nothing.

    Args:
        folder: made if it is missing; other files in it are left alone.

    Returns:
        `folder`.

    Raises:
        InputError: a package that carries pictures is not installed, the folder cannot be
            written, or it holds a different file under a name that is needed.
    """
    copies = {folder / PICTURES / name: source for name, source in sample_pictures().items()}
    # Posts come last: a folder that has them has their pictures too.
    copies |= {folder / name: data_path("sample", name) for name in (LATER, "posts.jsonl")}
    try:
        missing = [target for target in copies if not target.exists()]
        for target in copies.keys() - missing:
            if not filecmp.cmp(copies[target], target, shallow=False):
                raise InputError(
                    f"found another file at {target}, expected none or the sample's own; "
                    "name a new folder, or move that file away"
                )
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
        for target in missing:
            with copies[target].open("rb") as source, replace_file(target) as file:
                shutil.copyfileobj(source, file)
    except OSError as error:
        raise InputError(
            f"cannot write sample posts to {folder}: {error.strerror or error}; "
            "name a folder that can be written"
        ) from error
    return folder


def sample_pictures() -> dict[str, Path]:
    """Return the file of each sample picture on this machine, by its name in the sample posts.

    Raises:
        InputError: a package or its file is missing.
    """
    with data_path("sample", "pictures.toml").open("rb") as file:
        listed = tomllib.load(file)["picture"]
    found = {}
    for entry in listed:
        package, file = entry["package"], entry["file"]
        # The spec alone says where a package is; importing it would take seconds.
        spec = find_spec(package)
        places = (spec and spec.submodule_search_locations) or ()
        paths = [path for place in places if (path := Path(place, file)).is_file()]
        if not paths:
            what = f"no {file} in {package}" if spec else f"no package {package}"
            raise InputError(
                f"found {what}, expected the sample pictures it carries: "
                'pip install "hashlens[demo]"'
            )
        found[entry["name"]] = paths[0]
    return found
