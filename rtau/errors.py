"""Errors a user can mend; the command line prints them as one line."""


class RtauError(Exception):
    """What went wrong and what to do, in one sentence or two. Base of the errors below."""


class InputError(RtauError):
    """An input (file, folder, camera, URL) can't be read."""


class OutputError(RtauError):
    """An output can't be written where it was asked for."""


class UsageError(RtauError):
    """Options that contradict each other, or name something that does not exist."""
