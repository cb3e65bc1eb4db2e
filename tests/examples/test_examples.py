from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from neuroroute.simulator import Received, Simulator

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
}

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
}


def answer(request: Received) -> str:
    return ANSWERS[request.json["messages"][-1]["content"]]


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
