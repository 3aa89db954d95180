"""Names of the images in a file."""

from __future__ import annotations

from collections.abc import Sequence


def unique_names(names: Sequence[str], kind: str) -> list[str]:
    """Return the names of images, all different: with their numbers from 1 where one is empty or used again.

    Args:
        names: as the file has them.
        kind: of the images, such as "scene", which stands for an empty name.
    """
    used: set[str] = set()
    unique = []
    for number, name in enumerate(names, start=1):
        given = " ".join(name.split())
        chosen = given if given and given not in used else f"{given or kind} {number}"
        while chosen in used:
            chosen += "'"
        used.add(chosen)
        unique.append(chosen)
    return unique
