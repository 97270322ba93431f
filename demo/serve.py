"""Serves the built demo to this machine: python -m demo.serve."""

import argparse
import functools
import http.server
import sys
from collections.abc import Sequence
from pathlib import Path

from keras_distill.cli import Parser, exit_code
from keras_distill.errors import UserError

_DIST = Path(__file__).resolve().parent / "dist"


class DemoHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files with the types that browsers insist on."""

    # Not from the system's tables, which may lack or spoil them: browsers
    # refuse modules and stream no WebAssembly of another type.
    extensions_map = {
        "": "application/octet-stream",
        ".css": "text/css; charset=utf-8",
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".mjs": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
        ".txt": "text/plain; charset=utf-8",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        """Add a header: a rebuilt demo must show at once."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of requests that went well."""


def make_server(
    folder: Path, host: str, port: int
) -> http.server.ThreadingHTTPServer:
    """Make a server that listens already; port 0 takes a free one."""
    if not (folder / "demo.json").is_file():
        raise UserError(
            f"{folder} holds no demo: build it by python -m demo.build RUN"
        )
    handler = functools.partial(DemoHandler, directory=str(folder))
    try:
        return http.server.ThreadingHTTPServer((host, port), handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot serve on {host}, port {port}: {reason}; choose another "
            "(make demo PORT=8001, or --port 8001)"
        ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, serve until Ctrl-C, return the exit code."""
    options = _parser().parse_args(arguments)
    return exit_code(run, options, resumes=False)


def run(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C, which is how this ends well."""
    with make_server(options.folder, options.host, options.port) as server:
        host, port = server.server_address[:2]
        place = "localhost" if host in ("127.0.0.1", "0.0.0.0") else host
        sys.stdout.write(f"http://{place}:{port}/  (Ctrl-C ends it)\n")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            sys.stdout.write("\n")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m demo.serve", description="Serve the built demo."
    )
    parser.add_argument("folder", type=Path, nargs="?", default=_DIST)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="0.0.0.0 lets a phone in the same network in "
        "(default: this machine alone)",
    )
    parser.add_argument("--port", type=int, default=8000)
    return parser


if __name__ == "__main__":
    sys.exit(main())
