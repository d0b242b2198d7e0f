"""The command line. One short function a command; whatever is heavy is imported inside it."""

from __future__ import annotations

import atexit
import gc
import signal
import sys
from typing import Annotated

import typer

from dfa_cli.commands import data
from dfa_cli.commands.bench import bench
from dfa_cli.commands.clean import clean
from dfa_cli.commands.compare import compare
from dfa_cli.commands.diff import diff
from dfa_cli.commands.export import export
from dfa_cli.commands.options import PASS_ON
from dfa_cli.commands.plot import plot
from dfa_cli.commands.report import report
from dfa_cli.commands.rerun import rerun
from dfa_cli.commands.resume import resume
from dfa_cli.commands.runs import runs
from dfa_cli.commands.show import show
from dfa_cli.commands.sweep import sweep
from dfa_cli.commands.train import train
from dfa_cli.errors import DfaError

app = typer.Typer(
    name="dfa",
    help="Train neural networks without backpropagation, the error projected by (simulated) light.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


for command in (train, sweep):
    app.command(context_settings=PASS_ON, add_help_option=False)(command)
for command in (rerun, resume, runs, show, compare, plot, report, diff, clean, export, bench):
    app.command()(command)
app.add_typer(data.app, name="data")


def version(wanted: bool) -> None:
    if wanted:
        from dfa_cli.version import __version__

        typer.echo(f"dfa {__version__}")
        raise typer.Exit()


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The entry point: a user's mistake is one sentence and exit code 2, a bug keeps its traceback."""
    # else the interpreter looks for cycles among all that torch has made, a third of a second, and then ends
    atexit.register(gc.freeze)
    interrupted = _listen()
    try:
        app()
    except DfaError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:
        if interrupted:  # in the middle of something that made another error of it
            sys.exit(130)
        raise


def _listen() -> list[int]:
    """Ctrl-C as ever, and a list that is no longer empty after it."""
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, note)
    return received


if __name__ == "__main__":
    main()
