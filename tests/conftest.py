"""A web server of the test that has one file, and is slow, cuts off, lies, or has another file as it is told."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from golfbench import fetching


class Handler(BaseHTTPRequestHandler):
    """Answers as ``server.way`` says; what it was asked for is in ``server.asked``."""

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        way = self.server.way
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if way.status != 200:
            self.send_error(way.status)
            return
        content, start = way.content, 0
        if way.leads_to and not self.path.endswith("?again"):
            self.send_response(302)
            self.send_header("Location", way.leads_to)
            self.end_headers()
            return
        if asked and way.resumes and self.headers.get("If-Range") == way.mark:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            self.send_error(416)
            return
        rest = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if way.length is not False:
            self.send_header("Content-Length", str(len(rest) if way.length is None else way.length))
        if way.mark:
            self.send_header("ETag", way.mark)
        self.end_headers()
        if way.silent:
            time.sleep(way.silent)
        cut = way.cuts.pop(0) if way.cuts else len(rest)
        for k in range(0, min(cut, len(rest)), 100_000):
            self.wfile.write(rest[k : min(k + 100_000, cut)])
            time.sleep(way.pause)
        self.close_connection = True


@pytest.fixture
def file_server(monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE_S", 0.01)
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.asked = []
    made.way = SimpleNamespace(
        status=200, content=b"", length=None, mark='"1"', resumes=True, cuts=[], pause=0.0, silent=0.0, leads_to=""
    )
    made.url = f"http://127.0.0.1:{made.server_port}/weights.model"
    threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()
