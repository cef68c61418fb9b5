"""Every error that a person can cause, and so should read as one clear line."""

from __future__ import annotations


class PipelineError(Exception):
    """Base of all errors with a message for people; the command line exits with code 2."""


class InputError(PipelineError):
    """The input volume cannot be used: path, format, shape, dtype, voxel size or content."""


class StoreError(InputError):
    """A remote store of the input did not answer, in spite of several attempts; it may later."""


class ConfigError(PipelineError):
    """A configuration key or value is wrong."""


class ModelError(PipelineError):
    """A network or forest file is damaged, of another architecture or of other features."""


class OutputError(PipelineError):
    """The output store belongs to another input, is in use, or has lost finished data."""


class ResourceError(PipelineError):
    """The machine lacks what the run needs: memory, disk, device."""


class BlockError(PipelineError):
    """Blocks of a stage failed; names the stage, the blocks and the first cause."""


class LeakageError(InputError):
    """What is to be scored was learned from by the network or a forest that made it."""
