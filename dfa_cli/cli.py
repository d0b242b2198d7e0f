"""The command line `dfa`: lists the commands, and turns a user's mistake into one sentence.

Each command imports torch, hydra and other large packages only when it runs, so that `dfa --help` is quick.
"""

from __future__ import annotations

import atexit
import contextlib
import difflib
import gc
import re
import shlex
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dfa_cli.commands import data
from dfa_cli.commands.beam import beam
from dfa_cli.commands.bench import bench
from dfa_cli.commands.clean import clean
from dfa_cli.commands.compare import compare
from dfa_cli.commands.diff import diff
from dfa_cli.commands.evaluate import evaluate
from dfa_cli.commands.export import export
from dfa_cli.commands.options import PASS_TO_HYDRA
from dfa_cli.commands.plan import plan
from dfa_cli.commands.plot import plot
from dfa_cli.commands.report import report
from dfa_cli.commands.rerun import rerun
from dfa_cli.commands.resume import resume
from dfa_cli.commands.runs import runs
from dfa_cli.commands.show import show
from dfa_cli.commands.sweep import sweep
from dfa_cli.commands.train import train
from dfa_cli.commands.verify import verify
from dfa_cli.console.messages import shortest
from dfa_cli.console.output import unread_output_dropped
from dfa_cli.errors import DfaError, nearest
from dfa_cli.machine import signals
from dfa_cli.machine.startup import prepare_process

# What other programs call a command, and what it is called here.
SYNONYMS = {
    **dict.fromkeys(("list", "ls", "status", "history"), "runs"),
    **dict.fromkeys(("run", "start", "fit"), "train"),
    **dict.fromkeys(("info", "log", "print"), "show"),
    **dict.fromkeys(("rm", "remove", "delete"), "clean"),
    **dict.fromkeys(("table", "results"), "compare"),
    **dict.fromkeys(("benchmark", "speed"), "bench"),
    **dict.fromkeys(("multirun", "grid", "search"), "sweep"),
    **dict.fromkeys(("continue", "restart"), "resume"),
    **dict.fromkeys(("figure", "draw"), "plot"),
    **dict.fromkeys(("eval", "test", "predict"), "evaluate"),
    "version": "--version",
    "help": "--help",
}


USAGE_ERROR: Any = typer.BadParameter.__base__  # of Typer's own click, which must not be imported
REWORDED = (  # how Typer refuses a value, and our words
    (r"^Invalid value for '(.+?)': ", r"\1: "),
    (r"Input should be a valid integer.*", "it must be a whole number"),
    (r"Input should be a valid number.*", "it must be a number"),
    (r"Input should be ", "it must be "),
    (r"^No such option: (\S+).*", r"there is no option \1"),
    (r"^Option '(\S+)' requires an argument", r"\1 needs a value"),
    (r"^(Missing|No such) ", lambda match: match[0].lower()),
    (r"\.$", ""),
)


@contextlib.contextmanager
def usage_errors_as_sentences(context: Any = None) -> Iterator[None]:
    """Turn a mistake that Typer finds into a `DfaError`. Typer would frame it in a box, with the usage above.

    `context`: of `dfa` itself, which tells the command where the mistake does not.
    """
    try:
        yield
    except USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # `dfa` alone shows its help
            raise
        message = error.format_message()
        path = (
            error.ctx.command_path if error.ctx else f"dfa {context.invoked_subcommand}" if context else "dfa"
        )
        for pattern, words in REWORDED:
            message = re.sub(pattern, words, message)
        if unknown := getattr(error, "possibilities", None) is not None and error.option_name:
            options = [name for one in error.ctx.command.params for name in one.opts if name.startswith("--")]
            guesses = difflib.get_close_matches(
                unknown.lstrip("-"), [name.lstrip("-") for name in options], 1
            )
            message += f" (did you mean --{guesses[0]}?)" if guesses else ""
        raise DfaError(f"{path}: {message}; {path} --help tells what can be given.") from None


def _flags_without_type(command: Any, context: Any) -> None:
    """Take the `<bool>` out of the help, which Typer writes behind a flag as if it took a value."""
    for option in command.get_params(context):
        if getattr(option, "is_flag", False):
            option.metavar = ""
    for inner in getattr(command, "commands", {}).values():
        _flags_without_type(inner, context)


class Commands(TyperGroup):
    """The commands. A word that is none of them is answered with the nearest, and each mistake with one sentence."""

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        with usage_errors_as_sentences():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: Any) -> Any:
        with usage_errors_as_sentences(ctx):
            return super().invoke(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _flags_without_type(self, ctx)
        option, has_value, _ = args[0].partition("=") if args else ("", "", "")
        if option == "--config-dir" and not ctx.resilient_parsing:
            size = 1 if has_value else 2
            given, command, rest = args[:size], args[size : size + 1] or ["COMMAND"], args[size + 1 :]
            raise DfaError(f"{option} goes after the command: dfa {shlex.join([*command, *given, *rest])}")
        return super().parse_args(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if (found := super().get_command(ctx, cmd_name)) or ctx.resilient_parsing or cmd_name.startswith("-"):
            return found
        guess = SYNONYMS.get(cmd_name) or next(iter(nearest(cmd_name, self.commands, most=1)), None)
        hint = f"; type dfa {guess}" if guess else ""
        raise DfaError(f"There is no command {cmd_name}{hint}. dfa --help lists them.")


app = typer.Typer(
    name="dfa",
    cls=Commands,
    help="Train neural networks without backpropagation, with the error projected by (simulated) light.",
    epilog="dfa train --help lists all options and keys; docs/configuration.md explains them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


for command in (train, sweep):
    app.command(context_settings=PASS_TO_HYDRA, add_help_option=False)(command)
for command in (rerun, resume, runs, show, compare, plot, report, diff, evaluate, verify, clean, export):
    app.command()(command)
for command in (bench, beam, plan):
    app.command()(command)
app.add_typer(data.app, name="data")


def print_version(wanted: bool) -> None:
    if wanted:
        from dfa_cli.version import __version__

        typer.echo(f"dfa {__version__}")
        raise typer.Exit()


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line. A user's mistake ends in one sentence and exit code 2, a bug in a traceback.

    The exit code is 1 after training that has diverged, or that the user's own code has ended with an exception. It is
    130 after Ctrl-C, and 143 when the system ended the command, with SIGTERM or by closing its terminal.
    """
    prepare_process()
    # Skip the last garbage collection: with torch loaded it takes a third of a second, and the process ends anyway.
    atexit.register(gc.freeze)
    # A second signal must not end the process before it has given its exit code.
    atexit.register(signals.ignore)
    signals.forget()
    with signals.raised_as_interrupts(), unread_output_dropped():
        try:
            app(prog_name="dfa")
        except DfaError as error:
            more = f" The whole traceback is in {shortest(error.log)}." if error.log else ""
            print(f"error: {error}{more}", file=sys.stderr)
            sys.exit(signals.exit_code() if signals.received() else error.exit_code)
        except BaseException as error:
            # A signal can turn into another exception, inside an import for example. Typer makes it an exit.
            ended_well = isinstance(error, SystemExit) and not error.code
            if isinstance(error, KeyboardInterrupt) or (signals.received() and not ended_well):
                # Python remembers a KeyboardInterrupt that has left an `exec` of text, as imports use it, and would end
                # the process by SIGINT instead of with an exit code. Another `exec` makes it forget.
                exec("")
                sys.exit(signals.exit_code())
            raise


if __name__ == "__main__":
    main()
