"""Runs every example, one after the other: ``python examples``. LMSTUDIO_URL says where the model is."""

import subprocess
import sys
from pathlib import Path


def main() -> int:
    failed = []
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        print(f"\n── examples/{path.name} " + "─" * (70 - len(path.name)), flush=True)
        if subprocess.run([sys.executable, str(path)], check=False).returncode != 0:
            failed.append(path.name)
    print(f"\n{'These failed: ' + ', '.join(failed) if failed else 'All examples ran.'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
