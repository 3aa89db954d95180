"""`python -m masked_denoiser.cli` is `masked-denoiser`."""

import sys

from masked_denoiser.cli.main import main

sys.exit(main())
