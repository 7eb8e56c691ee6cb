"""`python -m backend.embedded.early MODULE`: import now, run `MODULE.main()` once told where the services are.

Importing takes seconds; done while the services start and the preparation runs, it costs none. The
environment comes as one line of JSON on standard input; its end without a line means: not needed.
"""

import asyncio
import importlib
import json
import os
import sys


def main() -> None:
    module = importlib.import_module(sys.argv[1])
    line = sys.stdin.readline()
    if line:
        os.environ.update(json.loads(line))
        asyncio.run(module.main())


if __name__ == "__main__":
    main()
