"""What a process that runs models needs in its environment, before torch is first imported."""

import threading

# Held while weights are loaded or adapters put on. transformers builds a model with torch's own functions
# patched for the whole process, so a model that another thread builds meanwhile stays without weights.
LOADING = threading.Lock()


def engine_environment() -> dict[str, str]:
    """For an entry point to set, or to hand to a child.

    libgomp's threads spin while they wait: beside another busy process a training step took 3 to 5
    times longer, so they sleep instead. Nothing is ever downloaded: weights come from this machine.
    """
    return {
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TQDM_DISABLE": "1",
    }
