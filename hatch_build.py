"""Metadata of the distribution that pyproject.toml cannot express: the README with absolute links.

PyPI and the napari hub show the README without the repository, so that relative links and images lead nowhere there.
They become links to the tag of the version, if `[project.urls]` names the repository ("Source").
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


def absolute_links(text: str, source: str, version: str) -> str:
    """Return Markdown whose relative links lead to the tag of a version; anchors and other addresses are kept.

    Args:
        text: Markdown with links relative to the root of the repository.
        source: address of the repository, or "" to keep all links.
        version: version without "v".
    """
    if not source:
        return text

    def replace(link: re.Match[str]) -> str:
        kind = "raw" if link["image"] else "blob"
        return f"{link['image']}[{link['text']}]({source.rstrip('/')}/{kind}/v{version}/{link['path']})"

    return re.sub(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?!\w+:|#)(?P<path>[^)\s]+)\)", replace, text)


class ReadmeHook(MetadataHookInterface):
    """Hook of hatchling that sets the readme."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the readme of the project's metadata, which lists it as dynamic."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        source = metadata.get("urls", {}).get("Source", "")
        text = absolute_links(text, source, metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
