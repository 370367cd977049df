"""Rules of the architecture that imports do not show."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "carina"


def makers(text: str) -> list[int]:
    """The lines that make a `CleanInstance`, or another out of one."""
    lines = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = ast.unparse(node.args[0]) if node.args else ""
            if name == "CleanInstance" or (name == "replace" and first.split(".")[-1] in ("clean", "instance")):
                lines.append(node.lineno)
    return lines


def test_only_deid_makes_a_clean_instance() -> None:
    found = {
        path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if makers(path.read_text(encoding="utf-8"))
    }
    assert {place for place in found if not place.startswith("deid/")} == set()
    assert found


def test_the_rule_sees_each_way_of_making_one() -> None:
    assert makers("a = CleanInstance(1)\nb = instance.CleanInstance(2)\nc = replace(clean, data=b'')") == [1, 2, 3]
    assert makers("def f(clean: CleanInstance) -> None: ...") == []
