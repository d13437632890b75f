"""Dotted names of nested settings."""

from sfvgen_plan.nested import flat


def test_leaves_keep_their_order_and_their_values():
    nested = {"b": {"y": [1, {"z": 2}], "x": {"w": None}}, "a": 3, "empty": {}}
    assert list(flat(nested).items()) == [("b.y", [1, {"z": 2}]), ("b.x.w", None), ("a", 3)]
    assert flat({"a": 1}, "group.") == {"group.a": 1}
