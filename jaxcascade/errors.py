"""What the package raises: one tree, so that one `except` can catch all of it.

Each error names the argument, what was expected, what was found and what to do.
"""


class JaxcascadeError(Exception):
    """Base of everything that this package raises on purpose."""


class InvalidInputError(JaxcascadeError, ValueError):
    """A value that the user gave cannot be used."""


class InfeasibleError(InvalidInputError):
    """Nothing is within all the limits that were asked for."""


class RecordsError(InvalidInputError):
    """A table of recorded runs cannot be used as it is."""


class MissingColumnError(RecordsError):
    """A table lacks a column that is needed."""


class FileFormatError(InvalidInputError):
    """A file is not what its name or its place says."""


class UnknownModelError(InvalidInputError):
    """A model is asked for that the records or the fitted model do not know."""


class PolicyError(InvalidInputError):
    """A policy contradicts itself, or asks a model twice."""


class PrecisionError(JaxcascadeError, TypeError):
    """A fit was asked for in single precision, where its results cannot be trusted."""


class InferenceError(JaxcascadeError, RuntimeError):
    """Draws of a posterior are of no use: chains disagree, or no mode was found."""


class PosteriorWarning(UserWarning):
    """Draws of a posterior are to be taken with care."""
