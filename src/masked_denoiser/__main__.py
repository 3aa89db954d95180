"""Entry point of `python -m masked_denoiser`, for machines on which scripts are not on the path."""

from __future__ import annotations

from masked_denoiser.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
