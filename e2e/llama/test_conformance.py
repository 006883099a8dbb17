"""Recorded provider traffic through the gateway, by a conformance runner outside of this project."""

import os
import subprocess
from pathlib import Path

import pytest
from world import binary

FOLDER = os.environ.get("LLM_GATEWAY_CONFORMANCE")


@pytest.mark.timeout(580)
@pytest.mark.skipif(not FOLDER, reason="LLM_GATEWAY_CONFORMANCE names no folder with the conformance runner")
def test_recorded_traffic_passes_unharmed(tmp_path):
    corpus = os.environ.get("LLM_GATEWAY_WIRE", str(Path(FOLDER).parent / "wire")) + "/open"
    log = tmp_path / "gateway.log"
    command = [
        *(f"{FOLDER}/run.sh", "--driver", "llm-gateway", "--corpus", corpus, "--cmd", f"{binary()} serve"),
        *("--log", str(log), "--quiet", "--min", os.environ.get("LLM_GATEWAY_CONFORMANCE_MIN", "1")),
    ]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(run.stdout)
    assert run.returncode == 0, f"{run.stdout[-6000:]}\n{log.read_text(errors='replace')[-2000:] if log.exists() else ''}"
