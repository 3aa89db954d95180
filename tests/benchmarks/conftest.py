"""Selection of the tests that this system can run."""

import os

#: Processes of other programs are limited by `resource`, which Windows does not have.
collect_ignore = ["test_peers.py"] if os.name == "nt" else []
