"""`python -m backend.embedded.guard MARK`: waits for its supervisor to end, then ends what that left.

The kernel kills a supervisor's children with it; it does not know of *their* children. The guard learns
of the supervisor's end, SIGKILL included, by the end of its standard input.
"""

import sys

from backend.embedded.processes import end_leftovers


def main() -> None:
    sys.stdin.buffer.read()
    end_leftovers(sys.argv[1])


if __name__ == "__main__":
    main()
