"""`dfa bench`: measures how long the projection takes on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dfa_cli.errors import DfaError


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Up to 10^9 coefficients: under a minute.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Up to 10^11 coefficients: some minutes.")] = False,
    sizes: Annotated[str, typer.Option(help="Your own sizes, inputs x outputs: 1000,20000x5000.")] = "",
    trillion: Annotated[
        bool, typer.Option("--trillion", help="One projection of 10^12 coefficients, with its checks.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; default: outputs/bench/TIME.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite earlier results in the folder.")] = False,
) -> None:
    """Time the projection for several sizes and devices, next to the modelled time of the optics."""
    if quick + full + bool(sizes) > 1:
        raise DfaError("--quick, --full and --sizes each choose the sizes; give one of them.")
    from dfa_cli.benchmark.table import run_table, run_trillion

    own_sizes = parse_sizes(sizes) if sizes else None
    if trillion:
        run_trillion(own_sizes, _folder(out, force, "trillion.json"))
    else:
        run_table(own_sizes, full, _folder(out, force, "bench.csv"))


def parse_sizes(text: str) -> list[tuple[int, int]]:
    """Parse `1000,20000x5000` to `[(1000, 1000), (20000, 5000)]`, smallest first. Raises `DfaError` for other words."""
    parsed = []
    for word in text.split(","):
        numbers = word.strip().lower().split("x")
        if not (len(numbers) in (1, 2) and all(n.isdecimal() and int(n) > 0 for n in numbers)):
            raise DfaError(
                f"--sizes {text}: '{word.strip()}' is not a size; give whole numbers above 0, such as "
                "1000 for 1000 x 1000 or 20000x5000 for 20000 in and 5000 out, with commas between."
            )
        parsed.append((int(numbers[0]), int(numbers[-1])))
    return sorted(parsed, key=lambda size: size[0] * size[1])


def _folder(out: Path | None, force: bool, result: str) -> Path:
    """Make the folder of the results. Raises `DfaError` if it has earlier results and `force` is false."""
    import time

    folder = out or Path("outputs") / "bench" / time.strftime("%Y-%m-%d_%H-%M-%S")
    if (folder / result).exists() and not force:
        raise DfaError(
            f"{folder / result} is there already; choose another --out, or overwrite it with --force."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DfaError(
            f"The folder {folder} cannot be made ({error.strerror}); choose another --out."
        ) from error
    return folder
