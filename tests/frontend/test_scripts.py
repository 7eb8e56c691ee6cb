"""What the browser does by itself (assets/js), run by node: tests/frontend/*.test.js."""

import subprocess
from pathlib import Path

import pytest

from frontend_reflex import build

HERE = Path(__file__).parent


@pytest.mark.parametrize("script", sorted(HERE.glob("*.test.js")), ids=lambda script: script.name.split(".")[0])
def test_the_browsers_scripts_behave(script: Path, tmp_path: Path) -> None:
    if not (build.WEB / "node_modules" / "viem").is_dir():
        pytest.fail("the web pages are not built: `python -m frontend_reflex.build`")
    build._shim_node(tmp_path)
    done = subprocess.run([tmp_path / "node", "--test", script], capture_output=True, text=True, check=False, cwd=HERE)
    assert done.returncode == 0, done.stdout + done.stderr
