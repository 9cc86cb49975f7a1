"""The kinds of ends that a starter can name: the `kind` of its call `end`, and the values that go with each.

servers/starter_ends.py has a sentence for each. So what the user reads doesn't change when a message of the
starter is reworded or missing. The kind "" stands for all other ends: the server ended by itself, or an
OSError stopped the starter, whose text is then the message.
"""

STOPPED = "stopped"  # a signal ended the server, as by scancel
IMAGE_MISSING = "image_missing"  # image, node
IMAGE_UNREADABLE = "image_unreadable"  # image, node
HOME_UNREACHABLE = "home_unreachable"  # home, node, error
PORTS_IN_USE = "ports_in_use"  # first, last
PORTS_TAKEN = "ports_taken"  # attempts
PROGRAM_NOT_STARTED = "program_not_started"  # program, errno (its name, such as ENOENT), error
PROFILE_ENDED = "profile_ended"  # node, status: how the shell ended that read the node's /etc/profile
PROLOGUE_ENDED = "prologue_ended"  # node, status: the same, in the site's prologue
NO_ROOM_FOR_LOG = "no_room_for_log"
NOT_REPORTED = "not_reported"  # to: the hub's URL, or the record's path

END_KINDS = (
    STOPPED,
    IMAGE_MISSING,
    IMAGE_UNREADABLE,
    HOME_UNREACHABLE,
    PORTS_IN_USE,
    PORTS_TAKEN,
    PROGRAM_NOT_STARTED,
    PROFILE_ENDED,
    PROLOGUE_ENDED,
    NO_ROOM_FOR_LOG,
    NOT_REPORTED,
)


class CannotRun(Exception):
    """The server can't be started on this node; the text is for the log."""

    def __init__(self, kind: str, text: str, **values: object) -> None:
        super().__init__(text)
        self.kind = kind
        self.values = {name: str(value) for name, value in values.items()}
