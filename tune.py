"""Find the best student of a run: `keras_distill.tune`."""

import sys

from keras_distill.tune import main

if __name__ == "__main__":
    sys.exit(main())
