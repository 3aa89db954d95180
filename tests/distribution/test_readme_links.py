"""The README must have working links on PyPI, which shows it without the repository."""

from __future__ import annotations

import re
import runpy
import zipfile
from email import message_from_bytes

from ..test_packaging import PROJECT, ROOT

absolute_links = runpy.run_path(str(ROOT / "hatch_build.py"))["absolute_links"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCE = "https://example.org/owner/name"


def test_links_lead_to_tag_of_version():
    text = "![a](docs/a.png) [b](docs/b.md#c) [d](#e) [f](https://example.com/g)\n[j](mailto:k@example.com)"
    assert absolute_links(text, SOURCE + "/", "1.2.3") == (
        f"![a]({SOURCE}/raw/v1.2.3/docs/a.png) [b]({SOURCE}/blob/v1.2.3/docs/b.md#c) [d](#e) [f](https://example.com/g)"
        "\n[j](mailto:k@example.com)"
    )


def test_all_links_of_readme_become_absolute():
    before = re.findall(r"\]\(([^)]+)\)", README)
    after = re.findall(r"\]\(([^)]+)\)", absolute_links(README, SOURCE, "1.2.3"))
    assert len(after) == len(before) > 20
    assert all(link.startswith("https://") for link in after)
    kept = [link.partition("/v1.2.3/")[2] or link for link in after]
    assert kept == before


def test_wheel_has_readme_and_urls(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(archive.read(name))
    assert metadata["Description-Content-Type"] == "text/markdown"
    expected = absolute_links(README, PROJECT["urls"].get("Source", ""), PROJECT["version"])
    assert metadata.get_payload(decode=True).decode("utf-8").strip() == expected.strip()
    assert [url.partition(", ")[0] for url in metadata.get_all("Project-URL")] == list(PROJECT["urls"])
