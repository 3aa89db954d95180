"""Check that a tag may be released, and print the notes of the release.

    python tools/check_release.py v1.2.3 --repository https://example.org/owner/name > notes.md

The version is that of pyproject.toml. The tag must be "v" and the version, CHANGELOG.md must have a section of the
version, the conda recipe must name it, and the project URLs must lead to the repository: an address that is published
with a version cannot be changed afterwards. Only the standard library is used, so that no dependency runs next to
publishing rights.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: Project URLs, as the path below the address of the repository; PyPI shows these names with icons.
URL_PATHS = {
    "Source": "",
    "Issues": "/issues",
    "Changelog": "/blob/main/CHANGELOG.md",
    "Documentation": "/blob/main/docs",
}


class ReleaseError(Exception):
    """A reason why a tag cannot be released, with the remedy."""


def check_tag(tag: str, version: str) -> None:
    """Raise ReleaseError unless the tag is "v" and the version."""
    if tag != f"v{version}":
        raise ReleaseError(
            f"the tag is {tag!r}, but pyproject.toml has version {version!r}; tag v{version}, or change the version"
        )


def release_notes(changelog: str, version: str) -> str:
    """Return the section of a version, without its heading.

    Raises:
        ReleaseError: if there is no such section, or it is empty.
    """
    heading = rf"^## \[?{re.escape(version)}\]?(?: - \d{{4}}-\d\d-\d\d)?$"
    found = re.search(rf"{heading}\n(.*?)(?=^## |\Z)", changelog, flags=re.MULTILINE | re.DOTALL)
    if found is None or not found[1].strip():
        raise ReleaseError(
            f'CHANGELOG.md has no entries of version {version}; rename "## Unreleased" to "## {version} - YYYY-MM-DD"'
        )
    return found[1].strip() + "\n"


def check_recipe(recipe: str, version: str) -> None:
    """Raise ReleaseError unless the conda recipe has the version."""
    found = re.search(r'^  version: "(.*)"$', recipe, flags=re.MULTILINE)
    if found is None or found[1] != version:
        named = found[1] if found else "no version"
        raise ReleaseError(f"packaging/conda/recipe.yaml names {named}, pyproject.toml {version!r}; change the recipe")


def check_urls(urls: dict[str, str], repository: str) -> None:
    """Raise ReleaseError unless the project URLs name the repository; the documentation may be elsewhere."""
    expected = {name: repository.removesuffix("/") + path for name, path in URL_PATHS.items()}
    wrong = [name for name, url in expected.items() if urls.get(name) != url]
    if "Documentation" in wrong and urls.get("Documentation", "").startswith("https://"):
        wrong.remove("Documentation")
    if wrong:
        lines = "\n".join(f'{name} = "{expected[name]}"' for name in wrong)
        raise ReleaseError(f"[project.urls] of pyproject.toml does not name this repository; write there:\n{lines}")


def main() -> int:
    """Check a tag; print the notes and return 0, or print the reason and return 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tag", help='"v" and the version')
    parser.add_argument("--repository", required=True, metavar="URL", help="address of the repository")
    arguments = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = str(project["version"])
    try:
        check_tag(arguments.tag, version)
        check_recipe((ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8"), version)
        check_urls(project.get("urls", {}), arguments.repository)
        notes = release_notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    except ReleaseError as error:
        print(f"check_release: {error}", file=sys.stderr)
        return 1
    print(notes, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
