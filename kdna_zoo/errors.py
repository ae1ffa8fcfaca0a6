"""Errors with a message meant for the user; the command line prints it without a traceback."""


class KdnaZooError(Exception):
    """Base of the errors that this package raises on purpose."""


class UserError(KdnaZooError, ValueError):
    """Something given by the user cannot be used: the message says what, and what to do instead."""


class MissingExtraError(UserError):
    """A command needs an optional part of the package that is not installed."""


class RunError(KdnaZooError, RuntimeError):
    """A run could not go on: the message says where it stopped and what is left of it."""
