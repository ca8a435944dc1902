"""The error of a backend or device that this machine lacks."""


class ScorerUnavailableError(RuntimeError):
    """The backend or device that was asked for is not on this machine; the message says what to install."""
