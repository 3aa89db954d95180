"""Entry point of `python -m masked_denoiser.cli`, which equals the command `masked-denoiser`."""

import sys

from masked_denoiser.cli.main import main

sys.exit(main())
