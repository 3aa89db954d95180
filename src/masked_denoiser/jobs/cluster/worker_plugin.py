"""Worker plugin of dask.distributed that sends a run to all workers, including those that join later."""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin

from masked_denoiser.jobs.cluster.worker import register_run
from masked_denoiser.jobs.cluster.worker_checks import Run


class RunPlugin(WorkerPlugin):
    """Plugin that sends a run, including its model, once to each worker."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.name = f"masked-denoiser-{run.name}"

    def setup(self, worker: Any) -> None:
        """Register the run; dask calls this on each worker."""
        register_run(self.run, worker.state.nthreads)
