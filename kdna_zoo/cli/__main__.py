"""``python -m kdna_zoo.cli``, as launchers such as torchrun start it."""

import sys

from kdna_zoo.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
