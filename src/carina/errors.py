"""Every error raised on purpose.

CarinaError
├── BadInput              what was given cannot be used
│   ├── NotDicom          the bytes are no DICOM file
│   ├── InvalidInstance   DICOM, but broken or lacking what its kind needs
│   ├── InvalidQuery      a cohort query that has no meaning here
│   ├── InvalidMessage    a message that is forged, stale, replayed or not for us
│   ├── InvalidInvitation an invitation that is used, expired, or another hub's
│   ├── InvalidTable      a CSV file that does not have the rows or columns it should
│   └── TooLarge          more bytes than are taken in at once
├── BadSettings           a setting is missing, unknown or wrong
│   └── WrongKey          a key is not the one these records were made with
├── NotFound              nothing has this name
├── Conflict              the name is taken by something else
├── NotAllowed            this person or peer may not do this
│   ├── NotSignedIn       nobody is known to ask
│   ├── PermitDenied      no permit in force covers this
│   └── SignInFailed      name or password is wrong
├── TooMany               asked too often
├── Full                  no room left on the disk
├── Busy                  another process holds the folder or the port
├── Unreachable           the other side does not answer
│   └── JourneyFailed     the demonstration did not show what it should
├── FinderUnavailable     the text finder cannot start
└── Withheld              an instance that must not pass yet

A message says what happened and quotes no header value, identifier or secret. `hint` says what to do next.
"""


class CarinaError(Exception):
    """Something that a person can act on."""

    hint = "See the log for the event, and docs/how-to for what to do."

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if hint is not None:
            self.hint = hint


class BadInput(CarinaError):
    """What was given cannot be used."""

    hint = "Correct what was given and try again."


class NotDicom(BadInput):
    """The bytes are no DICOM file."""

    hint = "Give a DICOM Part 10 file."


class InvalidInstance(BadInput):
    """A DICOM instance that is broken or lacks what its kind needs."""

    hint = "Export it again from its source."


class InvalidQuery(BadInput):
    """A cohort query that has no meaning here."""

    hint = "See `carina search --help` for the terms and their values."


class InvalidMessage(BadInput):
    """A message that is forged, stale, replayed or not for this receiver. `reason` is one constant word for each."""

    hint = "Check that the clocks agree, and that node and hub still know each other's keys."

    def __init__(self, message: str, hint: str | None = None, reason: str = "malformed") -> None:
        super().__init__(message, hint)
        self.reason = reason


class InvalidInvitation(BadInput):
    """An invitation that is used, expired, damaged, or another hub's."""

    hint = "Ask the hub's operator for a new invitation (`carina hub invite`)."


class InvalidTable(BadInput):
    """A CSV file that does not have the rows or columns it should."""

    hint = "See docs/how-to/clinical-data.md for the columns."


class TooLarge(BadInput):
    """More bytes than are taken in at once."""

    hint = "Send less at once."


class BadSettings(CarinaError):
    """A setting is missing, unknown or wrong."""

    hint = "Correct the settings file and start again; docs/reference/settings.md lists them all."


class WrongKey(BadSettings):
    """A key is not the one these records were made with."""

    hint = "Put the key file's back-up in place; with another key the records cannot be read or extended."


class NotFound(CarinaError):
    """Nothing has this name."""

    hint = "Check the name; the list commands show what there is."


class Conflict(CarinaError):
    """The name is taken by something else."""

    hint = "Choose another name, or look at what has it."


class NotAllowed(CarinaError):
    """This person or peer may not do this."""

    hint = "Sign in with an account that may, or ask the operator."


class NotSignedIn(NotAllowed):
    """Nobody is known to ask, and this is for people who have signed in."""

    hint = "Sign in, or give a token that is in force."


class PermitDenied(NotAllowed):
    """No permit in force covers this data, action or day. `reason` is one of `model.permit.Denial`."""

    hint = "Look at your permits at the hub; the committee of the data holder decides what they cover."

    def __init__(self, message: str, hint: str | None = None, reason: str = "no-permit") -> None:
        super().__init__(message, hint)
        self.reason = reason


class SignInFailed(NotAllowed):
    """Name or password is wrong."""

    hint = "Check both and try again; the operator can set a new password."


class TooMany(CarinaError):
    """Asked too often."""

    hint = "Wait a minute and try again."


class Full(CarinaError):
    """No room left on the disk."""

    hint = "Free some room; the sender keeps the image and can send it again."


class Busy(CarinaError):
    """Another process holds the folder or the port."""

    hint = "Stop the other process, or choose another folder or port."


class Unreachable(CarinaError):
    """The other side does not answer."""

    hint = "Check that it runs and that the address is right."


class JourneyFailed(Unreachable):
    """The demonstration did not show what it should."""

    hint = "The logs in the demonstration's folder say more."


class FinderUnavailable(CarinaError):
    """The text finder cannot start, so that no image can be searched for text."""

    hint = (
        "Run the set-up again, and see that the packages rapidocr-onnxruntime and OpenCV's system libraries are there."
    )

    def __init__(self, message: str = "The text finder cannot start.", hint: str | None = None) -> None:
        super().__init__(message, hint)


class Withheld(CarinaError):
    """An instance that must not pass yet. `reason` is one of `model.instance.Reason`."""

    hint = "The reason says what must be checked or changed first."

    def __init__(self, reason: str, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.reason = reason
