"""Errors that are the user's to fix; the command line prints them without a traceback."""


class UserError(ValueError):
    """Something given by the user cannot be used: the message says what, and what to do instead."""


class MissingExtraError(UserError):
    """A command needs an optional part of the package that is not installed."""
