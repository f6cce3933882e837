"""What a check of the self-test found."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ..errors import BoardError

__all__ = ["CheckResult", "Outcome", "Report", "SelfTestError", "failed", "passed", "skipped"]



class SelfTestError(BoardError):
    """The self-test can't begin; the message says why, and what to do."""


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class CheckResult:
    """A check.

    Attributes
    ----------
    check : str
        What was checked.
    subject : str
        Of what: a port, a table.
    outcome : Outcome
    detail : str
        What was found, and, if it is not well, what to look at.
    """

    check: str
    subject: str
    outcome: Outcome
    detail: str

    def as_dict(self) -> dict[str, str]:
        """By name, for JSON."""
        return {"check": self.check, "subject": self.subject, "outcome": str(self.outcome), "detail": self.detail}


#: Takes results as they come.
Report = Callable[[CheckResult], None]


def passed(check: str, subject: str, detail: str) -> CheckResult:
    """A check that found all well."""
    return CheckResult(check, subject, Outcome.PASSED, detail)


def failed(check: str, subject: str, detail: str) -> CheckResult:
    """A check that did not."""
    return CheckResult(check, subject, Outcome.FAILED, detail)


def skipped(check: str, subject: str, detail: str) -> CheckResult:
    """A check that could not be made."""
    return CheckResult(check, subject, Outcome.SKIPPED, detail)
