import errno

import pytest

import golfbench as package


def test_version(golfbench):
    done = golfbench("--version")
    assert (done.returncode, done.stdout) == (0, f"golfbench {package.__version__}\n")


def test_h_is_help_everywhere(golfbench):
    assert golfbench("-h").stdout == golfbench("--help").stdout
    assert "plugins show [OPTIONS]" in golfbench("plugins", "show", "-h").stdout


def test_no_arguments_print_the_help(golfbench):
    done = golfbench()
    assert "Commands:" in done.stdout + done.stderr


def test_an_error_that_a_person_can_cure_is_one_line_and_its_exit_code(golfbench):
    done = golfbench("plugins", "show", "probe-nett")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "golfbench: error: unknown plugin or component 'probe-nett': did you mean 'probe-net' or 'probe'?\n"
    )


@pytest.mark.parametrize("arguments", [["modls"], ["models", "lst"], ["models", "list", "--jsn"], ["plugins", "show"]])
def test_usage_errors_exit_with_2(golfbench, arguments):
    done = golfbench(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: golfbench")


def test_a_mistyped_verb_gets_a_suggestion(golfbench):
    assert "Did you mean 'models'?" in golfbench("modls").stderr


def test_an_interruption_exits_with_130(golfbench):
    done = golfbench("stop")
    assert (done.returncode, done.stderr) == (130, "golfbench: interrupted\n")


@pytest.mark.parametrize(
    ("number", "what"), [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the disk quota is used up")]
)
def test_a_full_disk_is_one_line(golfbench, number, what):
    done = golfbench("fill-disk", "--number", str(number))
    assert done.returncode == 1
    assert done.stderr == f"golfbench: error: {what} (runs/labels.db): free some space\n"


@pytest.mark.parametrize(
    ("verb", "end"),
    [
        ("stop", "interrupted; the same command resumes where it stopped"),
        ("fill-disk", "the disk is full (runs/labels.db): free some space; the same command resumes"),
    ],
)
def test_only_a_verb_that_resumes_says_so(golfbench, verb, end):
    assert end in golfbench(verb, "--resumes").stderr


def test_what_nobody_expected_keeps_its_traceback_and_exits_with_1(golfbench):
    done = golfbench("boom")
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "LookupError: an unexpected thing" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("golfbench: error: a defect in golfbench or in a plugin")


def test_no_plugins_loads_none(golfbench):
    assert golfbench("--no-plugins", "boom").returncode == 2
    assert golfbench("--no-plugins", "plugins", "list", plugins=None).stdout.splitlines() == [
        "plugin\tdistribution\tversion\tcomponents\tproblem"
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("    @app.command()\n    def half() -> None: ...\n    raise ValueError('half way')", "ValueError: half way"),
        ("    @app.command()\n    def half(x: 'Unknown') -> None: ...", "'Unknown' is not defined"),
        ("    @app.command('plugins')\n    def half() -> None: ...", "plugins exists already"),
        (
            "    @app.command()\n    def boom() -> None: ...\n    @app.command()\n    def half() -> None: ...",
            "boom exists",
        ),
    ],
)
def test_a_plugin_whose_commands_fail_stops_nothing(golfbench, add_plugin, body, reason):
    add_plugin("rogue", f"from golfbench import hookimpl\n@hookimpl\ndef golfbench_commands(app):\n{body}\n")
    done = golfbench("models", "list", plugins="probe,rogue")
    assert done.returncode == 0
    assert "probe-net" in done.stdout
    assert done.stderr.startswith("golfbench: warning: the commands of plugin dist-rogue/rogue are left out")
    assert reason in done.stderr
    assert "No such command 'half'" in golfbench("half", plugins="probe,rogue").stderr
    assert golfbench("boom", plugins="probe,rogue").returncode == 1
