"""Writes runs as training writes them: complete `run.json` and `metrics.csv` files."""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from dfa_cli.machine.process import process_started

START = datetime(2026, 11, 1, 8, 0, tzinfo=timezone.utc)
SIZES = {
    "cora": ("public Planetoid split", {"train": 140, "validation": 500, "test": 1000}),
    "citeseer": ("public Planetoid split", {"train": 120, "validation": 500, "test": 1000}),
    "mnist": (
        "last 10,000 of the training set held out",
        {"train": 50000, "validation": 10000, "test": 10000},
    ),
}
LEVEL = {"bp": 0.815, "dfa": 0.811, "shallow": 0.61}


class Factory:
    """Makes runs below `root`, each a minute after the one before."""

    def __init__(self, root: Path):
        self.root = root
        self.made = 0

    def run(
        self,
        *,
        model: str = "gcn",
        data: str = "cora",
        rule: str = "dfa",
        device: str = "cpu",
        seed: int = 0,
        accuracy: float | None = None,
        status: str = "completed",
        epochs: int = 20,
        overrides: list[str] | None = None,
        config: dict[str, Any] | None = None,
        choices: dict[str, Any] | None = None,
        record: dict[str, Any] | None = None,
        folder: str | None = None,
        sweep: str | None = None,
        curves: bool = True,
    ) -> Path:
        """Writes one run, and returns its folder.

        `config` (dotted keys), `choices` and `record` override the usual content. `sweep` names the folder of the sweep
        whose job the run is.
        """
        rng = random.Random(f"{model}{data}{rule}{device}{seed}")
        if accuracy is None:
            optical = 0.004 if device == "opu_sim" and rule == "dfa" else 0.0
            accuracy = round(LEVEL.get(rule, 0.7) - optical + rng.gauss(0, 0.006), 4)
        self.made += 1
        number = self.made
        created = START + timedelta(minutes=number)
        tree = _config(model, data, rule, device, seed, epochs)
        for key, value in (config or {}).items():
            branch = tree
            *parents, last = key.split(".")
            for parent in parents:
                branch = branch.setdefault(parent, {})
            branch[last] = value
        hashed = {key: value for key, value in tree.items() if key != "threads"}
        if rule in ("bp", "shallow"):
            hashed.pop("device")
        split, sizes = SIZES.get(data, ("fixed split", {"train": 100, "validation": 100, "test": 100}))
        measured = status == "completed" or status == "interrupted"
        frames = 280 * epochs if device == "opu_sim" and rule == "dfa" else 0
        projecting = rule == "dfa" and status == "completed"
        whole: dict[str, Any] = {
            "format": 1,
            "id": hashlib.sha256(f"{self.root}{number}".encode()).hexdigest()[:8],
            "identity": hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:16],
            "status": status,
            "created": created.isoformat(),
            "ended": None if status == "running" else (created + timedelta(seconds=3)).isoformat(),
            "choices": {
                "model": model,
                "data": data,
                "rule": rule,
                "device": device,
                "optimizer": "adam",
                "experiment": None,
                "tuned": f"{model}_{data}_{rule}",
                **(choices or {}),
            },
            "overrides": overrides
            if overrides is not None
            else [f"rule={rule}", f"device={device}", f"seed={seed}"],
            "config": tree,
            "result": {
                "test_accuracy_at_best_validation": accuracy,
                "test_accuracy_at_last_epoch": round(accuracy - 0.003, 4),
                "best_validation_accuracy": round(accuracy - 0.01, 4),
                "best_epoch": epochs // 2,
                "last_epoch": epochs,
                "last_train_loss": 0.61,
                "stopped_early": False,
                "split": split,
                "sizes": sizes,
            }
            if measured
            else None,
            "error": {"type": "RuntimeError", "message": "the loss is NaN", "epoch": 7}
            if status == "failed"
            else None,
            "time": {"total_seconds": 3.0 + rng.random(), "data_seconds": 0.2, "train_seconds": 1.4},
            "peak_memory_mb": 512.0,
            "projection": {
                "steps": epochs,
                "rows": 140 * epochs,
                "frames": frames,
                "coefficients": 1000 * epochs,
                "measured_seconds": 0.01,
                "modelled_seconds": frames * 5e-4 if frames else None,
                "modelled_joules": frames * 0.015 if frames else None,
                "notes": {"saturated_fraction": 0.001, "snr_db": 28.46, "snr_db_one_lit": 22.17}
                if frames
                else {},
            }
            if projecting
            else None,
            "data_fallback": None,
            "provenance": {
                "command": f"dfa train model={model} rule={rule} seed={seed}",
                "cwd": "/home/ada/project",
                "versions": {"dfa": "0.1.0", "python": "3.11.7", "torch": "2.13.0+cpu"},
                "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "pid_started": process_started(os.getpid()),
                "platform": "Linux",
                "processor": "x86_64",
                "threads": 2,
                "compute": "cpu",
                "seeds": {"weights": 1, "order": 2},
                "deterministic": True,
                "data_checksums": {"ind.cora.x": "00ff"},
            },
        }
        whole.update(record or {})
        if sweep:
            folder = f"{sweep}/{number}_{whole['id']}"
        place = self.root / (folder or f"2026-11-01/{number:06d}_{model}-{data}-{rule}_{whole['id']}")
        (place / ".hydra").mkdir(parents=True)
        (place / "run.json").write_text(json.dumps(whole, indent=2))
        if curves:
            (place / "metrics.csv").write_text(_curves(rng, accuracy, epochs if measured else 6))
        return place


def _config(model: str, data: str, rule: str, device: str, seed: int, epochs: int) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "seed": seed,
        "epochs": epochs,
        "batch_size": 128,
        "patience": None,
        "compute": "auto",
        "threads": 2,
        "model": {"_target_": f"dfa_cli.models.{model.upper()}", "widths": [16], "dropout": 0.5},
        "rule": {
            "_target_": f"dfa_cli.rules.{rule.upper()}",
            "needs": "projection" if rule == "dfa" else "nothing",
        },
        "device": {"_target_": "dfa_cli.devices.Digital", "matrix_seed": seed},
        "data": {"_target_": "dfa_cli.data.Planetoid", "name": data},
        "optimizer": {
            "_target_": "torch.optim.Adam",
            "lr": 0.01 if rule == "bp" else 0.02,
            "weight_decay": 5e-4,
        },
    }
    if rule == "dfa":
        tree["rule"]["scale"] = 1.0
    if device == "opu_sim":
        tree["device"] = {
            "_target_": "dfa_cli.devices.opu.OPU",
            "matrix_seed": seed,
            "noise_seed": seed,
            "threshold": 0.1,
        }
    return tree


def _curves(rng: random.Random, accuracy: float, epochs: int) -> str:
    lines = [
        "epoch,train_loss,train_accuracy,validation_loss,validation_accuracy,test_accuracy,seconds,frames,alignment_1"
    ]
    for epoch in range(1, epochs + 1):
        rise = 1 - 0.85 * 2.718 ** (-epoch / max(epochs / 8, 1))
        a = accuracy * rise + rng.gauss(0, 0.004)
        alignment = f"{0.3 * rise:.4f}" if epoch % 5 == 0 else ""
        lines.append(
            f"{epoch},{1.95 - 1.4 * rise:.5f},{min(1, a + 0.1):.5f},{1.9 - 1.1 * rise:.5f},"
            f"{a - 0.01:.5f},{a:.5f},"
            f"{0.07 * epoch:.3f},{280 * epoch},{alignment}"
        )
    return "\n".join(lines) + "\n"


def sweep(root: Path, seeds: int = 5) -> Factory:
    """Writes a sweep of three rules, with dfa on two devices, over `seeds` seeds; one job failed and one is missing."""
    factory = Factory(root)
    for rule, device in (("bp", "cpu"), ("dfa", "cpu"), ("dfa", "opu_sim"), ("shallow", "cpu")):
        for seed in range(seeds):
            if (rule, seed) == ("shallow", seeds - 1):
                continue
            failed = (device, seed) == ("opu_sim", 2)
            factory.run(
                rule=rule,
                device=device,
                seed=seed,
                status="failed" if failed else "completed",
                sweep="2026-11-01/08-00-00_sweep_0123abcd",
            )
    return factory
