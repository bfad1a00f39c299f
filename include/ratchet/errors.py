"""The one family of errors: each carries the facts (what, seen, expected, where) and ends with the way out."""

from __future__ import annotations


class RatchetError(Exception):
    """Base of every error Ratchet raises on purpose.

    `what` names the thing that is wrong; `seen`, `expected` and `where` are the facts; `hint` is what to do next.
    The message is one line per fact, so that it reads the same in a task log, on a terminal and in an API reply.
    `retryable`: the same call may succeed later, with nothing mended by a person.
    """

    retryable = False
    links: dict[str, str] = {}  # addresses of what explains it, by the names that a step's result has for them

    def __init__(
        self,
        what: str,
        *,
        hint: str,
        seen: object = None,
        expected: object = None,
        where: object = None,
    ) -> None:
        self.what, self.seen, self.expected, self.where, self.hint = what, seen, expected, where, hint
        facts = {"seen": seen, "expected": expected, "where": where, "do": hint}
        lines = [what, *(f"  {name}: {value}" for name, value in facts.items() if value is not None)]
        super().__init__("\n".join(lines))

    def __reduce__(self):
        """Pickle by facts: Airflow carries exceptions between processes."""
        return (_rebuild, (type(self), self.what, self.seen, self.expected, self.where, self.hint))


def _rebuild(cls, what, seen, expected, where, hint):
    return cls(what, seen=seen, expected=expected, where=where, hint=hint)


class SpecError(RatchetError):
    """A dataset or model spec that can't be used."""


class UnknownNameError(RatchetError):
    """A dataset, model, version or request that nobody has heard of."""


class ParameterError(RatchetError):
    """A run's input that is of the wrong type, unknown, or out of range."""


class DropError(RatchetError):
    """A drop that is missing, unreadable, or not what its manifest says."""


class ValidationFailedError(RatchetError):
    """A table-level expectation that failed: nothing of that partition was published."""


class UndeliveredDropError(DropError):
    """A drop whose bytes are not (yet) those that its manifest speaks of: looked at again at the next run."""


class ReconciliationError(RatchetError):
    """The rows of a drop are not those to publish and those set aside: a fault of this library, nothing is written."""


class ValidationBrokenError(RatchetError):
    """The validator itself raised: neither "data failed" nor "passed"."""

    retryable = True


class SuiteMisfitError(ValidationBrokenError):
    """A suite that asks for columns that there aren't: no verdict, and none until somebody mends it."""

    retryable = False


class EmptyWindowError(RatchetError):
    """A window that holds no usable rows."""


class ConflictError(RatchetError):
    """Somebody else moved first: read again and decide again."""

    retryable = True


class ApprovalError(RatchetError):
    """No real answer of an allowed person for this digest: nothing moves."""


class ModelFileError(RatchetError):
    """A model file that isn't what was registered, or that holds types we do not trust."""


class OtherLibrariesError(RatchetError):
    """A model that other versions of our libraries saved: the fault is the environment's, not the model's."""


class FirstScoringError(RatchetError):
    """What a new champion says of its first days can't be right: none of it was published."""


class HeldDayError(FirstScoringError):
    """A day whose scores can't be right, which says nothing against the champion: the day was not published."""


class NotReproducedError(RatchetError):
    """A version that did not come out as it was recorded, or could not be built again here."""


class LedgerError(RatchetError):
    """The ledger can't be read, or its chain does not verify."""

    retryable = True


class RegistryError(RatchetError):
    """MLflow can't be reached, or refused: nothing was decided, and trying again is safe."""

    retryable = True


class DriftBrokenError(RatchetError):
    """The drift report itself raised: neither "drifted" nor "did not"."""

    retryable = True


class StorageError(RatchetError):
    """The storage of landing zone and lake can't be reached, failed, or is full: trying again is safe."""

    retryable = True


class StorageRefusedError(StorageError):
    """The storage said no (credentials, rights, bucket, name), and will until somebody mends it."""

    retryable = False


class NotStoredError(StorageRefusedError):
    """Nothing lies under that key."""


class TooBigError(StorageRefusedError):
    """More bytes than the caller allows: refused before they are taken in."""
