from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from neuroroute.simulator import Answer, Received, Simulator

EXAMPLES = Path(__file__).parent.parent.parent / "examples"

ANSWERS = {
    "What are the three laws of robotics?": "Do no harm, obey, survive.",
    "How do I write a function to calculate the Fibonacci sequence?": "With recursion.",
    "Can you optimize that function for better performance?": "With a loop.",
    "What is the capital of France?": "Paris.",
    "What is its population?": "Two million.",
    "Tell me a story about a space explorer.": "She flew far away.",
    "What is FastAPI, in one sentence?": "A web framework.",
    "Hello": "Hello to you!",
    "What is the capital of Italy?": "Rome.",
    "And of Spain?": "Madrid.",
    "What is the weather in New York?": "I cannot know.",
    '{"location": "San Francisco, CA", "temperature": 72, "unit": "fahrenheit", "condition": "sunny"}': "Sunny, 72 F.",
    '{"location": "Tokyo", "temperature": 22, "unit": "celsius", "condition": "partly cloudy"}': "Cloudy, 22 C.",
    '{"time": "14:30", "timezone": "Asia/Tokyo", "date": "2025-04-23"}': "Three titles, and it is 14:30.",
    '{"location":"Rome","temperature":72,"unit":"fahrenheit"}': "22 degrees in Oslo, 72 in Rome.",
    "Error: the call was refused: the user allows no postcards.": "I may not send it.",
}

CALLS = {
    "What is the weather like in San Francisco and New York?": [
        ("get_weather", {"location": "San Francisco, CA"}),
        ("get_weather", {"location": "New York, NY"}),
    ],
    "What is the weather like in Tokyo?": [("get_weather", {"location": "Tokyo"}, "123456789")],
    "What is the weather like in Paris?": [("get_weather", {"location": "Paris", "unit": "celsius"})],
    "I need information about renewable energy and also what time it is in Tokyo.": [
        ("search_database", {"query": "renewable energy"}, "111111111"),
        ("get_current_time", {"timezone": "Asia/Tokyo"}, "222222222"),
    ],
    "What is the weather in New York?": [("get_weather", {"location": "New York, NY"})],
    "How warm is it in Oslo and in Rome?": [
        ("get_weather", {"location": "Oslo"}),
        ("get_weather", {"location": "Rome", "unit": "fahrenheit"}),
    ],
    "Send Ann a postcard.": [("send_postcard", {"recipient": "Ann", "text": "Hello"})],
}
"""What is called where tools are offered."""

OUTPUTS = {
    "basic_usage": r"""Response: Do no harm, obey, survive\.
Token usage: TokenUsage\(prompt=\d+, completion=\d+, total=\d+, estimated=False\)
Processing time: [\d.]+ seconds
""",
    "conversation_history": r"""Response: With recursion\.
Follow-up response: With a loop\.
""",
    "migrate_to_history": r"""Before:
Paris\.
After:
Paris\.
Two million\.
""",
    "migrate_to_streaming": r"""Before:
She flew far away\.
After:
She flew far away\.
Stream finished\.
After, in Python's form:
She flew far away\.
stop: \d+ tokens
""",
    "configuration_manager": r"""asked for LMSTUDIO_URL: the default
asked for LMSTUDIO_TIMEOUT: set here
\{'answer': 'A web framework\.', 'tokens': \d+\}
""",
    "direct_parameters": r"""Hello to you!
answered by llama3 after 1 attempt\(s\)
""",
    "error_handling": r"""A server that answers: Hello to you!
A server that is rate limited: Rate limited, try again later \(tried 4 times\)
A server that has a small context: Input is too long for the model: \{'prompt_tokens': 13575, 'context_length': 4096\}
A server that has no model loaded: Model is currently unavailable: Load a model in LM Studio's developer page, .*
A server that refuses images: Error: MODEL_INVALID_REQUEST \(model 'llama3' at [\d.:]+\): 'url' field must be .*
""",
    "without_asyncio": r"""Rome\.
Madrid\.
\d+ tokens
""",
    "function_calling": r"""Response text:\s
Function call: FunctionCall\(name='get_weather', arguments='\{"location":"San Francisco, CA"\}'\)
Handling function call\.\.\.
Function name: get_weather
Arguments: \{'location': 'San Francisco, CA'\}
Function result: \{'location': 'San Francisco, CA', 'temperature': 72, 'unit': 'fahrenheit', 'condition': 'sunny'\}
Follow-up response: Sunny, 72 F\.
""",
    "tool_usage": r"""Response text:\s
Tool calls: \(ToolCall\(id='123456789', type='function', function=FunctionCall\(name='get_weather', .*\)\),\)
Handling tool calls\.\.\.
Tool function name: get_weather
Arguments: \{'location': 'Tokyo'\}
Tool result: \{'location': 'Tokyo', 'temperature': 22, 'unit': 'celsius', 'condition': 'partly cloudy'\}
Follow-up response: Cloudy, 22 C\.
""",
    "streaming_with_functions": r"""Streaming response:
\*

Stream finished\.
Finish reason: function_call

Full text:\s
Function call data: \{"name":"get_weather","arguments":"\{\\"location\\":\\"Paris\\",\\"unit\\":\\"celsius\\"\}"\}
Parsed function call: \{'name': 'get_weather', 'arguments': '\{"location":"Paris","unit":"celsius"\}'\}
""",
    "combining_features": r"""Initial response:\s
Tool calls: \(ToolCall\(id='111111111', .*'search_database'.*, ToolCall\(id='222222222', .*'get_current_time'.*\)

Streaming final response:
Three titles, and it is 14:30\.

Stream finished\.
""",
    "migrate_to_functions": r"""Before:
I cannot know\.
After:
Function call: FunctionCall\(name='get_weather', arguments='\{"location":"New York, NY"\}'\)
""",
    "monitoring": r"""Answer: Paris\.
She flew far away\.
neuroroute_requests_total\{code="",host="[\d.:]+",model="llama3",outcome="answered"\} 2\.0
neuroroute_tokens_total\{host="[\d.:]+",kind="prompt",model="llama3"\} \d+\.0
neuroroute_tokens_total\{host="[\d.:]+",kind="completion",model="llama3"\} \d+\.0
""",
    "text_completion": r"""def celsius_to_fahrenheit\(degrees\):
    return degrees \* 9 / 5 \+ 32
Tokens: \d+
""",
    "caching_and_guards": r"""Paris\. From the cache: False
Paris\. From the cache: True
Error: MODEL_CONTENT_FILTERED .*: the guard no_card_numbers refused the request: it looks like the number of a card\. .*
""",
    "run_tools": r"""-> get_weather \{"location":"Oslo"\}
-> get_weather \{"location":"Rome","unit":"fahrenheit"\}
Answer: 22 degrees in Oslo, 72 in Rome\.
Roles: system user assistant tool tool assistant
-> send_postcard \{"recipient":"Ann","text":"Hello"\}
I may not send it\.
Finish reason: stop
""",
}


def answer(request: Received) -> str | Answer:
    if "prompt" in request.json:
        return "    return degrees * 9 / 5 + 32"
    said = request.json["messages"][-1]["content"]
    if "tools" in request.json and said in CALLS:
        return Answer(tool_calls=CALLS[said])
    return ANSWERS[said]


def run(path: Path, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LMSTUDIO_URL": url, "PYTHONIOENCODING": "utf-8"},
        timeout=60,
    )


def test_every_example_is_tested() -> None:
    """No example is without its expected output."""
    assert {path.stem for path in EXAMPLES.glob("[!_]*.py")} == {*OUTPUTS}


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_example_prints_what_it_should(lmstudio: Simulator, name: str) -> None:
    """Each example runs as it is and prints what its reader expects."""
    lmstudio.script(answer)
    done = run(EXAMPLES / f"{name}.py", lmstudio.url)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(OUTPUTS[name], done.stdout), done.stdout


def test_all_examples_run_in_a_row(lmstudio: Simulator) -> None:
    """`python examples` runs them all, and fails when one fails."""
    lmstudio.script(answer)
    done = run(EXAMPLES, lmstudio.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("All examples ran.\n")
    assert done.stdout.count("── examples/") == len(OUTPUTS)


WITH_TOOLS = ["function_calling", "tool_usage", "streaming_with_functions", "combining_features", "run_tools"]


@pytest.mark.parametrize("name", [*WITH_TOOLS, "migrate_to_functions"])
def test_an_example_takes_an_answer_without_a_call(lmstudio: Simulator, name: str) -> None:
    """A model need not call what it is offered: its words are shown, and nothing fails."""
    lmstudio.script(lambda _: "No idea.")
    done = run(EXAMPLES / f"{name}.py", lmstudio.url)
    assert done.returncode == 0, done.stderr
    assert "No idea." in done.stdout
    assert "Error" not in done.stdout


@pytest.mark.parametrize("name", WITH_TOOLS)
def test_an_example_takes_a_model_that_only_calls(lmstudio: Simulator, name: str) -> None:
    """A model that calls whatever it is told, and with broken arguments, makes no example crash."""
    lmstudio.script(lambda _: Answer(tool_calls=[("get_weather", '{"location": NOWHERE')]))
    done = run(EXAMPLES / f"{name}.py", lmstudio.url)
    assert done.returncode == 0, done.stderr
    assert "Error" in done.stdout or "Function call data" in done.stdout
