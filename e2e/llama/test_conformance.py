"""Recorded provider traffic through the gateway, by a conformance runner outside of this project."""

import os
import subprocess
from pathlib import Path

import pytest
from world import binary

FOLDER = os.environ.get("LLM_GATEWAY_CONFORMANCE")

# The share of checks that must pass, for each family of checks of the dialects that are built. Others are counted, not needed.
FAMILIES = {
    **dict.fromkeys(["A chat.completions", "A messages"], 1),
    **dict.fromkeys(["B chat.completions", "B messages", "B cut chat", "B cut messages"], 1),
    **dict.fromkeys(["C chat.completions", "C messages", "C models"], 1),
    **dict.fromkeys(["D chat→messages", "D messages→chat", "D cut chat→messages", "D cut messages→chat"], 1),
    **dict.fromkeys(["E chat→messages", "E messages→chat"], 1),
    **dict.fromkeys(["E+ chat→messages", "E+ messages→chat"], 0.95),
    **dict.fromkeys(["F chat→messages", "F messages→chat", "F same dialect"], 1),
}


@pytest.mark.timeout(1200)
@pytest.mark.skipif(not FOLDER, reason="LLM_GATEWAY_CONFORMANCE names no folder with the conformance runner")
def test_recorded_traffic_passes_unharmed(tmp_path):
    corpus = os.environ.get("LLM_GATEWAY_WIRE") or Path(FOLDER).parent / "wire"
    log = tmp_path / "gateway.log"
    command = [
        *(f"{FOLDER}/run.sh", "--driver", "llm-gateway", "--cmd", f"{binary()} serve", "--quiet"),
        *("--corpus", f"{corpus}/open", "--log", str(log)),
        *("--min", ",".join(["0", *(f"{family}={share}" for family, share in FAMILIES.items())])),
    ]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(run.stdout)
    assert run.returncode == 0, f"{run.stdout}\n{log.read_text(errors='replace')[-2000:] if log.exists() else ''}"
    missing = [family for family in FAMILIES if f"\n{family} " not in run.stdout]
    assert not missing, f"the runner knows no {missing}"
