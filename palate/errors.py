"""All errors of the package. A message gives the place, the value and the rule."""

from collections.abc import Iterable
from importlib.util import find_spec
from math import isfinite
from numbers import Integral, Real
from typing import NamedTuple, cast

# torch without CUDA, which most machines have no use for.
CPU_WHEEL = (
    "; without a GPU, run before it: pip install torch --index-url https://download.pytorch.org/whl/cpu "
    "(1.3 GB in place of 6.2)"
)


class PalateError(Exception):
    """Base of all errors raised on purpose; the command line prints it without a traceback."""


class DataError(PalateError, ValueError):
    """A log, catalogue or history breaks a rule."""


class EventConflict(DataError):
    """An event id names another event already."""


class SettingError(PalateError, ValueError):
    """A recipe or a call was given a setting outside its range."""


class NoPosterior(SettingError):
    """A list is to be drawn from what a model leaves open, and the model does not say what."""


class ModelError(PalateError, ValueError):
    """A model's arrays break what must hold of them, as where a fit diverged."""


class NotFinite(ModelError):
    """A model has numbers that are not finite."""


class UnknownId(PalateError, LookupError):
    """An id that the model or log has never seen, where an answer needs it to be known."""


class DataWarning(UserWarning):
    """Rows were left out of a log or catalogue, as asked."""


class JoinWarning(UserWarning):
    """Two sources that are joined by their ids share none: histories and a model, a catalogue and a log, ..."""


class BundleError(PalateError):
    """A saved model is missing, damaged, or from a newer version."""


class StoreError(PalateError):
    """The store of events cannot be opened, is damaged, or is from a newer version.

    `public` is what a client of the service may read of it: not where the store is.
    """

    def __init__(self, message: str, public: str | None = None) -> None:
        super().__init__(message)
        self.public = message if public is None else public


class StoreAway(StoreError):
    """The database of a store is out of reach; it may be back at any moment."""


class WriterError(PalateError):
    """A language model cannot be loaded or does not answer."""


class ConditionError(PalateError, ValueError):
    """A condition cannot be read, or names what the catalogue does not have.

    `position` is the character of `condition` where, counted from 0; the message counts from 1.
    """

    def __init__(self, condition: str, position: int, rule: str) -> None:
        super().__init__(f"condition, character {position + 1}: {rule}")
        self.condition = condition
        self.position = position


class GivenUp(PalateError):
    """Work was given up: its time was over, or its client is gone."""


class OutOfTime(PalateError):
    """The seconds that a fit may take were over before its first epoch was."""


class MissingExtra(PalateError, ImportError):
    """An optional package is not installed; one that asks for old versions of others is in no extra."""

    def __init__(self, package: str, extra: str = "") -> None:
        command = f"pip install 'palate[{extra}]'" if extra else f"pip install --no-deps {package}"
        super().__init__(f"{package} is not installed; run: {command}{CPU_WHEEL if extra == 'deep' else ''}")


class Package(NamedTuple):
    """An optional package: what of it is imported, its name, and its extra, "" where it is in none."""

    module: str
    name: str
    extra: str

    @property
    def missing(self) -> bool:
        """Whether it is not installed; at most the package around the module is imported."""
        try:
            return find_spec(self.module.partition(".")[0]) is None or find_spec(self.module) is None
        except (ImportError, ValueError):
            return True


def missing_extra(packages: Iterable[Package]) -> MissingExtra | None:
    """Return the error for the first of the packages that is not installed."""
    return next((MissingExtra(each.name, each.extra) for each in packages if each.missing), None)


def require(packages: Iterable[Package]) -> None:
    """Raise `MissingExtra` for the first of the packages that is not installed."""
    error = missing_extra(packages)
    if error is not None:
        raise error


def whole(setting: str, value: object, least: int = 1) -> int:
    """Return a whole number, python's own or numpy's, as an int; raises `SettingError` for all else, as True."""
    fine = isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least
    check(fine, setting, value, f"must be a whole number, {least} or more")
    return int(cast(Integral, value))


def real(setting: str, value: object) -> float:
    """Return a finite number, python's own or numpy's, as a float; raises `SettingError` for all else, as True."""
    fine = isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
    check(fine, setting, value, "must be a finite number")
    return float(cast(Real, value))


def check(condition: bool, setting: str, value: object, rule: str) -> None:
    """Raise `SettingError` naming the setting, its value and the rule, unless the condition holds."""
    if not condition:
        raise setting_error(setting, value, rule)


def setting_error(setting: str, value: object, rule: str) -> SettingError:
    """Build the error that names a setting, its value and the rule."""
    return SettingError(f"{setting}={value!r}: {rule}")
