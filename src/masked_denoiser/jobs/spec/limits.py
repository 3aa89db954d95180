"""Limits of the numbers that a user can choose, in options as in job files."""

from __future__ import annotations

#: Smallest and largest values of fields of a job.
LIMITS = {
    "tile": (1, 2**20),
    "halo": (0, 2**20),
    "grid": (1, 2**16),
    "batch": (1, 2**16),
    "passes": (1, 1000),
    "level": (0, 100),
    "seed": (0, 2**63 - 1),
    "epochs": (1, 2**20),
}
