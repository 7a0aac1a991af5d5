"""What two or more stages share. Stages import from here; nothing here imports a stage or runs by itself."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notes; its warnings and errors still show
