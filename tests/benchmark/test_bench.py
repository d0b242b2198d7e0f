"""`dfa bench`: the sizes it measures, its table and its files."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dfa_cli.benchmark import table
from dfa_cli.cli import app
from dfa_cli.commands import bench
from dfa_cli.errors import DfaError


def line(device: str, n: int, seconds: float, vectors: int = 1) -> table.Measurement:
    return table._measurement(device, vectors, n, n, seconds, memory_mb=1.0)


def test_sizes_are_read_and_sorted() -> None:
    assert bench.parse_sizes("1000") == [(1000, 1000)]
    assert bench.parse_sizes("20000x5000, 300") == [(300, 300), (20000, 5000)]


@pytest.mark.parametrize("text", ["abc", "0", "-5", "10x", "10x20x30", "1e3", ","])
def test_bad_sizes_are_one_sentence(text: str) -> None:
    with pytest.raises(DfaError, match=rf"--sizes {text}: '.*' is not a size; give whole numbers above 0"):
        bench.parse_sizes(text)


def test_devices_that_store_the_matrix_skip_large_sizes() -> None:
    cases = table.plan([(1000, 1000), (10**6, 10**6)], full=False)
    sizes = {(device, vectors): device_sizes for device, device_sizes, vectors in cases}
    assert sizes["numpy", 1] == sizes["cpu", 1] == [(1000, 1000)]
    assert sizes["procedural", 1] == sizes["structured", 1] == [(1000, 1000), (10**6, 10**6)]
    assert {device for device, _, _ in table.plan([(10**6, 10**6)], full=False)} == {
        "procedural",
        "structured",
    }


def test_break_even_is_where_the_optics_take_as_long() -> None:
    """A device that needs 1e-9 s a coefficient takes the 1 ms of the optics at 10^6 coefficients."""
    lines = [line("cpu", n, n * n * 1e-9) for n in (100, 300, 3000, 10_000)]
    assert table.break_even(lines) == pytest.approx(1e6)
    assert table.break_even(lines[:2]) is None
    assert table.break_even(lines[2:]) == 9e6
    sentences = " ".join(table.conclusions(lines))
    assert "faster than cpu for one vector above 1e+06 coefficients a vector (about 1000 x 1000)" in sentences
    # The camera reads 8 pixels for each output of a vector, 2040 in 2.7 us, so 11 coefficients take as long.
    assert (
        "With fewer inputs (classes) than 11 (1 at once) the camera alone takes longer than cpu" in sentences
    )


def test_conclusions_name_the_ratios() -> None:
    lines = [
        line("numpy", 1000, 0.1),
        line("procedural", 1000, 0.01),
        line("procedural", 1000, 0.08, vectors=64),
    ]
    sentences = table.conclusions(lines)
    assert "procedural makes 10.0 times the coefficients a second of numpy, at 1e+06." in sentences
    assert "procedural: 64 vectors cost 8.0 times one, at 1000 x 1000." in sentences


def test_the_table_fits_80_columns_and_the_files_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        table,
        "run_case",
        lambda device, sizes, vectors: [line(device, n, n * n * 1e-9, vectors) for n, _ in sizes],
    )
    result = CliRunner().invoke(app, ["bench", "--sizes", "100,2000", "--out", str(tmp_path / "b")])
    assert result.exit_code == 0, result.output
    assert "modelled, not measured" in result.output
    assert "Quoted, not measured here: 1500 TeraOPS at 30 W" in result.output.replace("\n", " ")
    assert max(map(len, result.output.splitlines()[:-1])) <= 80
    with (tmp_path / "b" / "bench.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["device"] for row in rows} == {"numpy", "cpu", "procedural", "structured"}
    assert float(rows[0]["modelled_seconds"]) == pytest.approx(1e-3)
    assert float(rows[0]["modelled_joules"]) == pytest.approx(0.03)
    assert (tmp_path / "b" / "bench.png").read_bytes().startswith(b"\x89PNG")

    again = CliRunner().invoke(app, ["bench", "--sizes", "100", "--out", str(tmp_path / "b")])
    assert isinstance(again.exception, DfaError)
    assert "is there already; choose another --out, or overwrite it with --force" in str(again.exception)
    forced = CliRunner().invoke(app, ["bench", "--sizes", "100", "--out", str(tmp_path / "b"), "--force"])
    assert forced.exit_code == 0


@pytest.mark.parametrize("device", ["numpy", "procedural"])
def test_a_device_is_measured_in_a_process_of_its_own(device: str) -> None:
    small, large = table.run_case(device, [(500, 1000), (1000, 3000)], 1)
    assert (small.coefficients, large.coefficients) == (500_000, 3_000_000)
    assert small.seconds > 0
    assert large.coefficients_per_second == pytest.approx(3e6 / large.seconds)
    if device == "numpy":
        assert large.memory_mb > 20  # 8 bytes for each coefficient, at least
    else:
        assert large.memory_mb < 300


def test_a_measurement_that_fails_is_explained(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DfaError, match="measurement of nothing at 10 x 10 ended with code 1"):
        table.run_case("nothing", [(10, 10)], 1)
    assert "KeyError" in capfd.readouterr().err


def test_the_trillion_projection_at_a_small_size(tmp_path: Path) -> None:
    """It runs the code for 10^12 coefficients; its checks hold within 5 standard deviations."""
    result = CliRunner().invoke(app, ["bench", "--trillion", "--sizes", "2000x3000", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "100.00%" in result.output
    found = json.loads((tmp_path / "trillion.json").read_text())
    assert found["coefficients"] == 6_000_000
    assert abs(found["norm_ratio"] - 1) < 5 * found["norm_ratio_deviation"]
    assert found["kolmogorov_p"] > 1e-3
    assert found["spot_error"] < 1e-5
    assert abs(found["structured_norm_ratio"] - 1) < 5 * found["norm_ratio_deviation"]


def test_options_that_contradict_each_other_are_refused() -> None:
    result = CliRunner().invoke(app, ["bench", "--quick", "--full"])
    assert isinstance(result.exception, DfaError)
    assert "give one of them" in str(result.exception)


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DfaError, match=r"cannot be made .*; choose another --out"):
        bench._folder(tmp_path / "file" / "below", False, "bench.csv")
