"""A power cut for a child process: after it, only what had been synced is there.

See README.md for the model. This package starts and kills nothing; the caller does.
"""

from bench.powercut.simulator import PowerCut, PowerCutError

__all__ = ["PowerCut", "PowerCutError"]
