"""The command line. One short function a command; whatever is heavy is imported inside it."""

from __future__ import annotations

import atexit
import gc
import signal
import sys
from typing import Annotated

import typer

from dfa_cli import rerun
from dfa_cli.data import commands as data_commands
from dfa_cli.devices import bench
from dfa_cli.errors import DfaError
from dfa_cli.results import commands as result_commands

app = typer.Typer(
    name="dfa",
    help="Train neural networks without backpropagation, the error projected by (simulated) light.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

# Hydra reads these arguments, --help among them; a short option of ours would tear -cd apart
PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def complete(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    from dfa_cli.completion import offers

    return offers(context.params.get("overrides") or [], incomplete)


Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="rule=dfa seed=3, and Hydra's own options.", autocompletion=complete),
]


@app.command(context_settings=PASS_ON, add_help_option=False)
def train(overrides: Overrides = None) -> None:
    """Train one model, or with -m one for each combination: dfa train model=gcn device=opu_sim."""
    from dfa_cli.hydra_app import launch

    raise typer.Exit(launch(overrides or [], "dfa train"))


@app.command(context_settings=PASS_ON, add_help_option=False)
def sweep(overrides: Overrides = None) -> None:
    """Train every combination that has no completed run yet: dfa sweep rule=bp,dfa seed='range(5)'."""
    from dfa_cli.sweep.command import sweep

    raise typer.Exit(sweep(overrides or []))


rerun.register(app)
result_commands.register(app)
bench.register(app)
app.add_typer(data_commands.app, name="data")


def version(wanted: bool) -> None:
    if wanted:
        from dfa_cli import __version__

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
    except BrokenPipeError:
        # the reader has gone (`dfa runs | head`): not our mistake, and nothing left to say
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
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
