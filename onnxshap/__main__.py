"""``python -m onnxshap``."""

import sys

from onnxshap.cli import main

sys.exit(main())
