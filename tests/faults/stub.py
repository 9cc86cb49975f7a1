"""Replaces a notebook server, and starts at once: answers every GET with the id of its job.

Run as `python3 stub.py BOOTS STOPS LIVES ...`: seconds until it listens, seconds from SIGTERM to its end, and
seconds after which it ends by itself (0: it doesn't). Standard library only.
"""

import http.server
import json
import os
import signal
import sys
import threading
import time
import urllib.parse

boots, stops, lives = (float(word) for word in sys.argv[1:4])


class Answer(http.server.BaseHTTPRequestHandler):
    """The id of the job, whatever is asked."""

    def do_GET(self) -> None:
        body = json.dumps({"job": int(os.environ["SLURM_JOB_ID"])}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing: the log is for errors."""


def end(*_: object) -> None:
    os._exit(0)


signal.signal(signal.SIGTERM, lambda *_: threading.Timer(stops, end).start())
time.sleep(boots)
url = urllib.parse.urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
server = http.server.ThreadingHTTPServer((url.hostname or "", url.port or 0), Answer)
if lives:
    threading.Timer(lives, end).start()
server.serve_forever()
