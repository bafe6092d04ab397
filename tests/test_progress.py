"""Progress is a bar on a terminal and lines in a log."""

import io

import pytest

from pesloss.job import progress as module


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_lines_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    stream = io.StringIO()
    assert list(module.progress(range(3), 3, "training", stream)) == [0, 1, 2]
    lines = stream.getvalue().splitlines()
    assert lines[0] == "training: 1/3, 0 s left"
    assert lines[-1].startswith("training: 3/3 in ")
    assert "\r" not in stream.getvalue()


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    assert list(module.progress(iter("abc"), 3, "training", stream)) == ["a", "b", "c"]
    assert "\r" in stream.getvalue()
    assert "training" in stream.getvalue()
