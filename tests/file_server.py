"""A file server on this machine whose manners a test can spoil."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Answers every request with its content.

    Attributes:
        content: What is sent.
        cut_after: Bytes after which the connection ends; None for never.
        status: An HTTP error to answer with; None for none.
        asked: The paths that were asked for.
    """

    def __init__(self, content):
        self.content = content
        self.cut_after = None
        self.status = None
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                if outer.status is not None:
                    self.send_error(outer.status)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(outer.content)))
                self.end_headers()
                # The client goes away when it has seen enough.
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(outer.content[: outer.cut_after])

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        self.thread = threading.Thread(
            target=self.http.serve_forever, args=(0.01,), daemon=True
        )
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
