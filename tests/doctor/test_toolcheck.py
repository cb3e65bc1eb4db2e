"""Tool definitions that are wrong, and where; what they say is shown nowhere."""

from __future__ import annotations

import pytest

from neuroroute import tool as make_tool
from neuroroute.doctor import check_tools

SECRET = "canary-of-the-definitions"


def tool(name="get_weather", description="The weather of a city.", parameters=None, **more):
    function = {"name": name, "description": description, "parameters": parameters or schema()}
    return {"type": "function", "function": function | more}


def schema(**properties):
    properties = properties or {"city": {"type": "string", "description": "Its name."}}
    return {"type": "object", "properties": properties, "required": list(properties)[:1]}


def nested(levels):
    inner = {"type": "string", "description": SECRET}
    for _ in range(levels):
        inner = {"type": "object", "description": "x", "properties": {"a": inner}}
    return schema(a=inner)


AT = "tools[0].function"
AT_PARAMETERS = f"{AT}.parameters"


@pytest.mark.parametrize(
    ("definition", "code", "path"),
    [
        ("get_weather", "tool-malformed", "tools[0] is no object"),
        ({"name": SECRET, "parameters": {}}, "tool-malformed", 'tools[0] has no "function"'),
        ({"type": SECRET, "function": {"name": "f"}}, "tool-malformed", "tools[0].type"),
        (tool(name=f"{SECRET} with spaces"), "tool-malformed", f"{AT}.name"),
        (tool(description=[SECRET]), "tool-malformed", f"{AT}.description"),
        (tool(description=" "), "tool-undescribed", AT),
        (tool(parameters={"type": "array"}), "tool-malformed", AT_PARAMETERS),
        (tool(parameters={"type": "object", "properties": [SECRET]}), "tool-malformed", f"{AT_PARAMETERS}.properties"),
        (tool(parameters=schema(a={"type": "canary"})), "tool-schema-wrong", f"{AT_PARAMETERS}.properties.a.type"),
        (tool(parameters=schema() | {"required": ["nobody"]}), "tool-schema-wrong", f"{AT_PARAMETERS}.required"),
        (tool(parameters=schema(a={"items": {"$ref": "#/$defs/canary"}})), "tool-schema-wrong",
         f"{AT_PARAMETERS}.properties.a.items.$ref"),
        (tool(parameters=schema(a={"$ref": "http://canary/x"})), "tool-schema-wrong",
         f"{AT_PARAMETERS}.properties.a.$ref"),
        (tool(parameters=schema(a={"description": SECRET})), "tool-untyped", f"{AT_PARAMETERS}.properties.a"),
        (tool(parameters=nested(3)), "tool-too-complex", f"{AT_PARAMETERS}.properties.a.properties.a"),
        (tool(parameters=schema(**{f"a{n}": {"type": "string", "description": "x"} for n in range(12)})),
         "tool-too-complex", f"{AT_PARAMETERS} has 12 parameters"),
        (tool(description=SECRET * 400), "tools-too-large", "tools[0]"),
    ],
)  # fmt: skip
def test_each_fault_is_named_by_its_place(definition, code, path):
    """What is wrong is one finding with the path to it; contents of the definition are not told."""
    findings = [one for one in check_tools([definition]) if one.level in ("problem", "warning")]
    assert [one.code for one in findings] == [code]
    assert path in findings[0].what
    assert not any("canary" in one.what + one.do + one.why for one in findings)


def test_what_belongs_to_all_of_them():
    """Two of one name, and more than a model keeps apart."""
    twice = check_tools([tool(), tool()])
    assert [one.code for one in twice] == ["tool-name-twice"]
    assert twice[0].what == "tools[1].function.name is that of tools[0]"
    many = check_tools([tool(name=f"tool_{number}") for number in range(17)])
    assert [one.code for one in many] == ["tools-too-many"]


def test_what_cannot_be_sent_or_is_bottomless():
    """Values that JSON cannot say, and schemas that go down without an end, are findings and no exceptions."""
    assert [one.code for one in check_tools([tool(extra=object())])] == ["tool-malformed"]
    bottomless = schema()
    bottomless["properties"]["city"] = bottomless
    assert [one.code for one in check_tools([tool(parameters=bottomless)])] == ["tool-malformed"]
    assert "tool-too-complex" in [one.code for one in check_tools([tool(parameters=nested(40))])]


def test_our_own_tools_are_taken():
    """Functions with @tool and definitions of ours are checked as what would be sent."""

    @make_tool
    def add(a: int) -> int:
        """Adds."""
        return a

    assert check_tools([add]) == check_tools([add.definition])
    assert [one.code for one in check_tools([add])] == ["tools-good", "tool-undescribed"]


def test_good_ones_are_good():
    """Definitions of the usual kind are told as good; parameters without a description are a hint beside it."""
    assert [one.code for one in check_tools([tool(), tool(name="f", parameters={})])] == ["tools-good"]
    hinted = check_tools([tool(parameters=schema(city={"enum": ["Oslo"]}, days={"anyOf": [{"type": "null"}]}))])
    assert [(one.code, one.level) for one in hinted] == [("tools-good", "ok"), ("tool-undescribed", "hint")]
    combined = schema(a={"oneOf": [{"type": "string"}, {"type": "integer"}], "description": "x"})
    assert [one.level for one in check_tools([tool(parameters=combined)])] == ["ok", "hint"]
    shared = schema(a={"type": "array", "items": {"$ref": "#/$defs/one"}, "description": "x"})
    shared["$defs"] = {"one": {"type": "string"}}
    assert [one.code for one in check_tools([tool(parameters=shared)])] == ["tools-good"]
