import json

import pytest

from golfbench.cli import console


def test_a_table_in_a_pipe_is_tab_separated(capsys):
    console.print_table(("name", "n"), [("a [b]", 1), ("c", 2.5)], title="not shown")
    assert capsys.readouterr().out == "name\tn\na [b]\t1\nc\t2.5\n"


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


def test_notes_go_to_stderr(capsys):
    console.note("a")
    console.warn("b")
    console.fail("c")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "golfbench: a\ngolfbench: warning: b\ngolfbench: error: c\n"
