"""What can go wrong with Kafka, in longwatch's own words."""

from longwatch.pipeline.errors import BrokerError, BrokerRefusedError, FatalError, InputError


class BrokerUnreachableError(BrokerError):
    """No broker answered in time."""


class TopicMissingError(BrokerRefusedError):
    """The topic is not there and longwatch was not told to create it."""


class OutputTooLargeError(BrokerRefusedError):
    """One output is larger than a request may be; sending it again cannot help."""


class RangeLostError(InputError):
    """A bounded read asked for offsets the log no longer holds."""


class TopicRecreatedError(FatalError):
    """The topic was deleted and made again while it was read: its offsets now mean other records."""


class CommitAbortedError(BrokerError):
    """The transaction was aborted, nothing of it is visible: read again from the committed offsets."""


class CommitUnknownError(FatalError):
    """The commit was sent and its outcome is not known; the committed offsets tell, once the producer has settled."""


class ClientFailedError(FatalError):
    """The client is in a state it does not leave; a new process can go on."""
