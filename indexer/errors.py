"""The exceptions that hashlens raises on purpose.

Every message says what was found, what was expected and what to do.
The command line turns each into one line and the exit status of its class.
"""

# What to do about damaged files of an index.
DAMAGED = "run `hashlens verify`, then `hashlens rollback` or build again"


class HashlensError(Exception):
    """Anything that went wrong in a way we foresaw."""

    exit_code = 1


class InputError(HashlensError):
    """A post, query or file of the user's cannot be used."""


class ImageError(InputError):
    """A picture cannot be read, or is larger than is safe to read."""


class ShapeError(HashlensError):
    """An array has the wrong shape, dtype or values."""


class ConfigError(HashlensError):
    """A setting is unknown or out of range."""


class EncoderError(HashlensError):
    """An encoder or its weights cannot be had, or are of another model."""


class ClusterError(HashlensError):
    """A cluster cannot be reached, lost too many machines, or has not what this one has."""


class IndexUnusableError(HashlensError):
    """An index cannot be answered from."""

    exit_code = 4


class IndexMissingError(IndexUnusableError):
    """There is no index at the place named."""


class IndexCorruptError(IndexUnusableError):
    """Files of an index are missing, cut short or changed."""


class IndexMismatchError(IndexUnusableError):
    """An index is of another format or encoder than the one asked for."""


class VectorsUnreachableError(IndexUnusableError):
    """Vectors that an index keeps elsewhere cannot be reached, or nobody said that they may be."""


class IndexLockedError(HashlensError):
    """Another process is writing to the index."""

    exit_code = 5


def unreadable(path: object, reason: object) -> IndexCorruptError:
    """A file of an index cannot be read, and what to do."""
    return IndexCorruptError(f"{path}: cannot be read ({reason}); {DAMAGED}")
