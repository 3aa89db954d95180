"""Write docs/options.md: every option of a job, made from the table of options.

python docs/generate/options_page.py
"""

from __future__ import annotations

from pathlib import Path

from masked_denoiser.jobs.spec.options import OPTIONS, Option, flag_of

PAGE = Path(__file__).parents[1] / "options.md"

_HEAD = """# Options

Written by `python docs/generate/options_page.py`. Each option is a keyword in Python (`masked_denoiser.denoise(image,
noise="none")`; `std` of `denoise_file` only), a field of `masked_denoiser.Options`, a flag on the command line, and,
where it has a label, a field in the Denoise dock. A job file contains what the options were resolved to. An option
decides the pixels of the result, how they are stored, or only speed and memory; a resumed job must have the same
options, except `cpu_as_last_resort`.
"""

_TITLES = {"noise": "Noise", "channels": "Channels", "output": "Output", "expert": "Expert settings"}


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


def page() -> str:
    """Return the text of the page."""
    parts = [_HEAD]
    for group, title in _TITLES.items():
        parts += [
            f"\n## {title}\n",
            "| Python | command line | dock | default | decides | what it does |",
            "|" + " --- |" * 6,
        ]
        parts += [_row(option) for option in OPTIONS.values() if option.group == group]
    return "\n".join(parts) + "\n"


def _row(option: Option) -> str:
    words = ", ".join(f"`{word}`" for word in option.choices)
    choices = f" {'A number, or one of' if option.numbers else 'One of'} {words}." if words else ""
    cells = [f"`{option.name}`", f"`{flag_of(option)}`", option.label, f"`{option.default}`", option.decides]
    return f"| {' | '.join([*cells, f'{option.help}.{choices}'])} |"


if __name__ == "__main__":
    main()
