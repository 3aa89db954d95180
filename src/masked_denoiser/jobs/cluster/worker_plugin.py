"""How dask.distributed tells every worker of a run, those that come later too."""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin

from masked_denoiser.jobs.cluster.worker import Run, register_run


class RunPlugin(WorkerPlugin):
    """Sends a run, model and all, once to each worker."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.name = f"masked-denoiser-{run.name}"

    def setup(self, worker: Any) -> None:
        """Called on each worker."""
        register_run(self.run, worker.state.nthreads)
