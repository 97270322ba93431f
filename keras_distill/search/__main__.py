"""A worker of a search on this machine, as tune.py starts it.

python -m keras_distill.search FLAGS OF tune.py
"""

import sys

from keras_distill.cli import configure_logging, exit_code
from keras_distill.process import exit_with_parent
from keras_distill.search.main import tune
from keras_distill.search.options import parser


def main(arguments: list[str]) -> int:
    """Work until the chief says that nothing is left."""
    child = exit_with_parent()
    options = parser(__doc__).parse_args(arguments)
    configure_logging()
    return exit_code(lambda: tune(options, arguments), child=child)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
