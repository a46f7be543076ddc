"""What every part means by an error: what happened, and what a technician can do about it.

Bad input from a wire is a value (`Refused`), a broken promise is an exception (`C5Error`), our own bug an
`AssertionError`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refused:
    """Foreign bytes that are not acted on, and why. The reason is ours: it never quotes the bytes."""

    reason: str


class C5Error(Exception):
    """Something this program promised can't be done; `hint` says what to do about it."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class SettingsError(C5Error):
    """The settings can't be used; nothing was started."""


class CertificateError(C5Error):
    """A certificate or key can't be used, or isn't what it should be."""


class StoreError(C5Error):
    """The disk did not do what it was asked; nothing of that request is durable."""


class DamagedError(StoreError):
    """The file is there and can be read, and what it holds can't be believed."""


class LinkError(C5Error):
    """A broker could not be reached, or refused."""
