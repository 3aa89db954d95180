"""Mutations of valid documents: values that break libraries, and flipped, lost and repeated bytes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from io import BytesIO
from random import Random
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

Mutate = Callable[[Random, bytes], bytes]

NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 3, 127, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 10**9, -(10**9),
    10**12, 10**30, 10**400, 0.5, -0.0, 1e308, math.inf, -math.inf, math.nan,
)  # fmt: skip
TEXTS = (
    "", " ", "\0", "..", "../secret/key", "/etc/passwd", "C:\\x", "\\\\host\\share", "a/b", "ä\u202e", "\ud800",
    "A" * 5000, "<!DOCTYPE x [<!ENTITY a 'b'>]>", "NaN", "1e999", "9" * 5000, "\x1b[2J", "pickle", "None", "|O", "<f8", "file:///x",
    "http://127.0.0.1/x", "${x}", "%s%n", "__import__('os').system('id')",
)  # fmt: skip
#: Values to insert as little- and big-endian integers of common header widths.
_BLOCKS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


def any_bytes(random: Random, data: bytes) -> bytes:
    """Change, remove, repeat or move a few bytes."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.randrange(len(out) + 1)
        match random.randrange(7):
            case 0 if at < len(out):
                out[at] ^= 1 << random.randrange(8)
            case 1:
                out[at : at + 1] = random.randbytes(random.choice((1, 2, 8)))
            case 2:
                del out[at : at + random.choice((1, 4, 100))]
            case 3:
                del out[at:]
            case 4:
                out[at:at] = out[at : at + random.choice((1, 16, 200))]
            case _:
                width = random.choice((1, 2, 4, 8))
                value = random.choice(_BLOCKS) % 256**width
                out[at : at + width] = value.to_bytes(width, random.choice(("little", "big")))
    return bytes(out)


def head_of(limit: int) -> Mutate:
    """Return a mutation of mainly the first `limit` bytes, where headers are."""

    def mutate(random: Random, data: bytes) -> bytes:
        return any_bytes(random, data[:limit]) + data[limit:] if random.random() < 0.8 else any_bytes(random, data)

    return mutate


def any_json(random: Random, data: bytes) -> bytes:
    """Change, remove, add or nest values of a JSON text; occasionally change its bytes."""
    if random.random() < 0.1:
        return any_bytes(random, data)
    values = json.loads(data)
    for _ in range(random.choice((1, 1, 2))):
        values = change_value(random, values)
    text = json.dumps(values)
    if random.random() < 0.02:  # deeper than any reader recurses, which json.dumps cannot write
        text = re.sub(r"\d+|true|false|null", lambda _: "[" * 200_000, text, count=1)
    return text.encode()


def change_value(random: Random, values: Any) -> Any:
    """Return the values with one of them, at any depth, changed."""
    if isinstance(values, dict | list) and values and random.random() < 0.85:
        keys = list(values) if isinstance(values, dict) else list(range(len(values)))
        copied: Any = dict(values) if isinstance(values, dict) else list(values)
        key = random.choice(keys)
        if random.random() < 0.12:
            del copied[key]
        else:
            copied[key] = change_value(random, values[key])
        return copied
    return _another(random, values)


def _another(random: Random, value: Any) -> Any:
    match random.randrange(8):
        case 0 | 1:
            return random.choice(NUMBERS)
        case 2 | 3:
            return random.choice(TEXTS)
        case 4:
            return random.choice((None, True, False, [], {}, [[]], [{}], {"": None}))
        case 5:
            return [value] * random.choice((1, 2, 7, 300))
        case 6 if isinstance(value, dict):
            return value | {random.choice(TEXTS): random.choice(NUMBERS)}
        case 6 if isinstance(value, int | float):
            return -value
        case _:
            return {"name": value}


def any_text(random: Random, data: bytes) -> bytes:
    """Replace, remove and repeat words and numbers of a text such as a recipe."""
    parts = re.findall(r"\w+|\W", data.decode(errors="replace"))
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(parts) + 1)
        match random.randrange(5):
            case 0:
                parts[at : at + 1] = [str(random.choice(NUMBERS))[:400]]
            case 1:
                parts[at : at + 1] = [random.choice(TEXTS)]
            case 2:
                del parts[at : at + random.choice((1, 3))]
            case 3:
                parts[at:at] = parts[: random.randrange(20)] * random.choice((1, 2, 50))
            case _:
                parts[at:at] = [random.choice("()[]{},.+=-'\"\\\n\té")] * random.choice((1, 1, 2000))
    return "".join(parts).encode(errors="surrogatepass")


def any_xml(random: Random, data: bytes) -> bytes:
    """Change attributes, remove, repeat and nest elements, and add entities."""
    text = data.decode()
    match random.randrange(10):
        case 0:
            return any_bytes(random, data)
        case 1:
            bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
                f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
            )
            return (bomb + "]>" + text.replace("</OME>", "<Description>&i;</Description></OME>")).encode()
        case 2:
            elements = re.findall(r"<\w+[^<>]*/>", text)
            chosen = random.choice(elements)
            return text.replace(chosen, random.choice(("", chosen * random.choice((2, 200)))), 1).encode()
        case _:
            for _ in range(random.choice((1, 1, 2, 3))):
                found = list(re.finditer(r'(\w+)="([^"]*)"', text))
                chosen = random.choice(found)
                value = str(random.choice(NUMBERS))[:400] if random.random() < 0.6 else random.choice(TEXTS)
                value = value.replace("<", "&lt;").replace('"', "&quot;")
                text = f'{text[: chosen.start()]}{chosen[1]}="{value}"{text[chosen.end() :]}'
            return text.encode(errors="surrogatepass")


def any_zip(random: Random, data: bytes) -> bytes:
    """Change, rename, compress or remove entries of an archive; occasionally change its bytes."""
    if random.random() < 0.2:
        return any_bytes(random, data)
    with ZipFile(BytesIO(data)) as archive:
        entries: list[list[Any]] = [[info.filename, archive.read(info)] for info in archive.infolist()]
    named = [entry for entry in entries if str(entry[0]).endswith(("data.pkl", "byteorder", "version"))]
    chosen = random.choice(named if random.random() < 0.8 else entries)
    match random.randrange(8):
        case 0:
            entries.remove(chosen)
        case 1:
            chosen[0] = "x" + random.choice(TEXTS).replace("\0", "")
        case 2:
            entries.append([chosen[0], chosen[1] * 2])
        case _:
            chosen[1] = any_bytes(random, chosen[1])
    made = BytesIO()
    kind = ZIP_DEFLATED if random.random() < 0.05 else ZIP_STORED
    with ZipFile(made, "w", kind) as archive:
        for name, content in entries:
            archive.writestr(str(name).encode(errors="replace").decode(), content)
    return made.getvalue()


def any_safetensors(random: Random, data: bytes) -> bytes:
    """Change header values, mostly in the card; occasionally change bytes."""
    if random.random() < 0.15:
        return head_of(64)(random, data)
    end = 8 + int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8:end]), data[end:]
    if random.random() < 0.7:
        card = header["__metadata__"]["masked_denoiser"]
        header["__metadata__"]["masked_denoiser"] = any_json(random, card.encode()).decode(errors="replace")
        text = json.dumps(header).encode()
    else:
        text = any_json(random, data[8:end])
    if random.random() < 0.2:
        body = any_bytes(random, body)
    return len(text).to_bytes(8, "little") + text + body
