import json

import pytest

from golfbench.cli import console


def test_a_table_in_a_pipe_is_tab_separated(capsys):
    console.print_table(("name", "n"), [("a [b]", 1), ("c", 2.5)], title="not shown")
    assert capsys.readouterr().out == "name\tn\na [b]\t1\nc\t2.5\n"


@pytest.mark.parametrize("width", [1, 20, 22])
def test_a_terminal_without_room_for_the_headings_gets_a_line_for_each_cell(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    console._draw_table(("molecule", "energy (kcal/mol)", "n"), [("a [b]", "1.5", "2"), ("c", "", "3")], "")
    assert capsys.readouterr().out == (
        "molecule: a [b]\nenergy (kcal/mol): 1.5\nn: 2\n\nmolecule: c\nenergy (kcal/mol): \nn: 3\n\n"
    )


def test_a_drawn_table_breaks_no_heading(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    console._draw_table(("molecule", "energy (kcal/mol)", "n"), [("a [b]", "1.5", "2")], "")
    text = capsys.readouterr().out
    assert all(word in text for word in ("molecule", "energy", "(kcal/mol)", "a [b]", "1.5"))
    assert max(map(len, text.splitlines())) <= 40


@pytest.mark.parametrize(("term", "drawn"), [("dumb", False), ("unknown", False), ("xterm", True)])
def test_progress_is_drawn_only_where_it_can_be(monkeypatch, term, drawn):
    """On a dumb terminal rich shows nothing before the end."""
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert (console.Progress()._bars is not None) == drawn


def test_json_keeps_the_order_of_keys_and_the_letters(capsys):
    console.print_json({"b": 1, "a": "Å"})
    text = capsys.readouterr().out
    assert json.loads(text) == {"a": "Å", "b": 1}
    assert text == '{\n  "b": 1,\n  "a": "Å"\n}\n'


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_has_no_nan(number):
    with pytest.raises(ValueError, match="JSON compliant"):
        console.print_json({"pct_mean": number})


def test_progress_in_a_pipe_is_the_first_and_the_last_line_of_each_task(capsys):
    with console.Progress() as progress:
        for done in range(1, 6):
            progress("labelling", done, 5)
        progress("training", 1, 3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["labelling: 1/5", "labelling: 5/5", "training: 1/3"]


def test_progress_prints_again_after_a_while(capsys, monkeypatch):
    monkeypatch.setattr(console, "LINE_INTERVAL_S", 0.0)
    progress = console.Progress()
    for done in range(1, 4):
        progress("labelling", done, 9)
    assert capsys.readouterr().err.splitlines() == ["labelling: 1/9", "labelling: 2/9", "labelling: 3/9"]


def test_a_second_task_of_the_same_name_has_a_rate_of_its_own(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(console, "LINE_INTERVAL_S", 0.0)
    progress = console.Progress()
    for done, at in ((0, 0.0), (10, 60.0), (0, 600.0), (5, 660.0)):
        now[0] = at
        progress("learning", done, 10)
    assert capsys.readouterr().err.splitlines() == [
        "learning: 0/10",
        "learning: 10/10, 10 a minute",
        "learning: 0/10",
        "learning: 5/10, 5 a minute, 60 s left",
    ]


def test_notes_go_to_stderr(capsys):
    console.note("a")
    console.warn("b")
    console.fail("c")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "golfbench: a\ngolfbench: warning: b\ngolfbench: error: c\n"
