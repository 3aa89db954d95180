"""Hooks of mkdocs: files outside of docs/ that pages link to become files of the site.

The pages of the repository are read on GitHub, too, so that they link to `../CONTRIBUTING.md` or to
`../src/masked_denoiser/network/attention.py`. Here such targets are added to the site, and the links are changed.
A link whose text is the name of its file shows the title of the page instead. Pictures become links to themselves, to
be seen in full size on a narrow screen. Pages with wide tables have no table of contents at the side, which would leave
too little room for them.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[3]

#: Pages of the site by their file in the repository.
PAGES = {
    "CONTRIBUTING.md": "development/contributing.md",
    "CHANGELOG.md": "development/changelog.md",
    "SECURITY.md": "development/security.md",
    "sample_data/README.md": "development/sample-images.md",
    "README.md": "index.md",
}

#: Folder of the site for all other files of the repository, which are shown as text.
_FILES = "repository"

#: The target of a link or picture in Markdown, with what follows it in the parentheses.
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#])")

#: A link whose text is the name of a page's file: its target and anchor.
_FILE_NAME = re.compile(r"\[(?:[\w-]+/)?[\w-]+\.md\]\(([^)\s#:]+\.md)(#[^)\s]*)?\)")

#: A table of at least seven columns: the line below its head.
_WIDE_TABLE = re.compile(r"^\|(?: *-+ *\|){7,}$", flags=re.MULTILINE)

#: A picture of a page, and a short option of the command line, which must not be broken after its hyphens.
_PICTURE, _FLAG = re.compile(r'<img [^>]*\bsrc="([^"]+)"[^>]*>'), re.compile(r"<code>(--?\w[^<]{0,24})</code>")


def on_files(files: Files, config: Any) -> Files:
    """Add pages from the top of the repository, and the other files that pages link to."""
    for source, target in PAGES.items():
        if not files.get_file_from_path(target):
            files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    linked = {target for page in files.documentation_pages() for target in _outside_targets(page)}
    for source in sorted(linked):
        files.append(File.generated(config, _file_of(source), abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Return the text of a page with links to the files of the site."""
    if _WIDE_TABLE.search(markdown):
        page.meta["hide"] = ["toc"]
    relinked = _LINK.sub(lambda match: _relink(match[1], page.file), markdown)
    return _FILE_NAME.sub(lambda match: f"[{_title(match[1], page.file, files)}]({match[1]}{match[2] or ''})", relinked)


def on_page_content(html: str, **_: Any) -> str:
    """Return the HTML of a page with pictures that can be enlarged, and options that stay on one line."""
    linked = _PICTURE.sub(lambda match: f'<a class="picture" href="{match[1]}">{match[0]}</a>', html)
    return _FLAG.sub(r'<code class="flag">\1</code>', linked)


def _outside_targets(page: File) -> list[str]:
    """Return the files of the repository that a page links to, and that are neither pages nor below docs/."""
    targets = [_in_repository(link, page) for link in _LINK.findall(page.content_string)]
    outside = [target for target in targets if target not in PAGES and not target.startswith("docs/")]
    return [target for target in outside if (ROOT / target).is_file()]


def _relink(link: str, page: File) -> str:
    """Return the target of a link relative to the page of the site; the same for links within docs/ and to hosts."""
    target = _in_repository(link, page)
    if target in PAGES:
        place = PAGES[target]
    elif target.startswith("docs/"):
        place = target.removeprefix("docs/")
    elif (ROOT / target).is_file():
        place = _file_of(target)
    else:
        return link
    return posixpath.relpath(place, posixpath.dirname(page.src_uri) or ".")


def _title(link: str, page: File, files: Files) -> str:
    """Return the first heading of the page that a link leads to, or the link if there is no such page."""
    target = files.get_file_from_path(posixpath.normpath(posixpath.join(posixpath.dirname(page.src_uri), link)))
    heading = re.search(r"^# (.+)$", target.content_string, flags=re.MULTILINE) if target else None
    return heading[1] if heading else link


def _in_repository(link: str, page: File) -> str:
    """Return the path of a link's target in the repository; empty for other hosts."""
    if "://" in link or link.startswith(("mailto:", "/")):
        return ""
    source = next((source for source, target in PAGES.items() if target == page.src_uri and source != "README.md"), "")
    folder = posixpath.dirname(source or f"docs/{page.src_uri}")
    return posixpath.normpath(posixpath.join(folder, link))


def _file_of(source: str) -> str:
    return f"{_FILES}/{source}.txt"
