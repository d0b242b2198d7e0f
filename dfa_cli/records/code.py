"""Describes the code that made a run: the user's own, the commit of dfa, the versions of the packages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

NO_FILE = "no file"  # in place of the checksum of a class that has no file, such as one of a notebook


def changed_files(before: Mapping[str, str | None], now: Mapping[str, str | None]) -> list[str]:
    """Lists the files that differ, with the start of both checksums: `mine.py 3f2a9c01 before, 9bc1d2e3 now`."""
    return [
        f"{file} {_short(before, file)} before, {_short(now, file)} now"
        for file in sorted({*before, *now})
        if before.get(file) != now.get(file) or (file in before) != (file in now)
    ]


def _short(checksums: Mapping[str, str | None], file: str) -> str:
    return "absent" if file not in checksums else (checksums[file] or NO_FILE)[:8]


def code_in_short(config: Mapping[str, Any], checksums: Mapping[str, str | None]) -> str | None:
    """Returns the first digits of a checksum over all files; `None` for a run without own code.

    It is `unknown` for a run with own code that recorded no checksums, as versions of dfa up to 0.1.0 did.
    """
    if checksums:
        return hashlib.sha256(json.dumps(dict(checksums), sort_keys=True).encode()).hexdigest()[:8]
    return "unknown" if any(_uses_own_class(node) for node in config.values()) else None


def _uses_own_class(node: Any) -> bool:
    if not isinstance(node, Mapping):
        return False
    target = node.get("_target_")
    return (isinstance(target, str) and not is_known_class(target)) or any(
        map(_uses_own_class, node.values())
    )


def is_known_class(name: str) -> bool:
    """Tells whether a class is one of dfa or of the libraries that its own options use."""
    return name.startswith(("dfa_cli.", "torch.", "torch_geometric."))


def origin(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what made a run, as far as a change of it can change a result: the commit of dfa, and the versions."""
    git = provenance.get("git") or {}
    return {
        "commit": git.get("commit"),
        "changes": git.get("diff", "unknown") if git.get("dirty") else None,
        **(provenance.get("versions") or {}),
    }


def origin_in_words(made_by: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Describes an origin by the parts that differ from another: `commit 4af7c01, torch 2.12`."""
    words = []
    if any(made_by.get(name) != other.get(name) for name in ("commit", "changes")):
        changes = f" with changes {str(made_by['changes'])[:8]}" if made_by.get("changes") else ""
        words.append(f"commit {str(made_by.get('commit') or 'unknown')[:7]}{changes}")
    for name in sorted({*made_by, *other} - {"commit", "changes"}, key=lambda name: (name != "torch", name)):
        if made_by.get(name) != other.get(name):
            words.append(f"{name} {made_by.get(name) or 'absent'}")
    return ", ".join(words)
