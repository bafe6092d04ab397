"""The one exception users meet: file, key, wrong value and allowed values in one line."""

from collections.abc import Iterable

SHOWN = 120  # characters of a wrong value


class PeslossError(ValueError):
    """A mistake in an input that the user can mend, in one line whatever it quotes."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


def wrong_value(
    where: str, key: str, value: object, allowed: Iterable[object] | str
) -> PeslossError:
    """Build the error for a wrong value.

    Parameters
    ----------
    where
        File or function that holds the value.
    key
        Name of the setting, column or argument.
    value
        The offending value.
    allowed
        The values that would have been accepted, or a phrase that describes them.
    """
    choices = allowed if isinstance(allowed, str) else ", ".join(str(item) for item in allowed)
    return PeslossError(f"{where}: {key} is {shown(value)}; allowed: {choices}")


def shown(value: object) -> str:
    """Return a value as a message has it: on one line, and cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
