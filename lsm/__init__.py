"""What two or more stages share. Stages import from here; nothing here imports a stage or runs by itself."""

import os
import sys
from multiprocessing import parent_process

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notes; its warnings and errors still show


def _told(kind, error, trace) -> None:
    """Says in one line that Ctrl-C stopped a script, also while it imports what it needs; other errors as ever."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    elif parent_process() is None:  # its parent process says so
        print(f"{sys.argv[0]}: stopped; run the same command again: what is finished is not done again",
              file=sys.stderr)


sys.excepthook = _told
