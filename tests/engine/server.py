"""A transcription server of one's own: POST /v1/audio/transcriptions, in the dialect of whisper-1.

It speaks what callwarden expects of a self-hosted server and nothing more: a form with `file` (WAV of 16 bits),
`model` (any) and `language` (`en` or none), answered with `{"text": …}`. When it is ready it prints one line,
`listening on http://127.0.0.1:PORT/v1`.
"""

import argparse
import io
import json
import re
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from whisper import Recogniser

BODY_BYTES_MAX = 26 * 1024 * 1024
SHORTEST_SECONDS = 0.1


class Refusal(Exception):
    """An answer that is no transcription."""

    def __init__(self, status, message, param=None, code=None):
        super().__init__(message)
        kind = "invalid_request_error" if status < 500 else "server_error"
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def form(content_type, body):
    """The fields of a multipart form, by name."""
    boundary = re.search(r'boundary="?([^";]+)', content_type)
    if not content_type.startswith("multipart/form-data") or not boundary:
        raise Refusal(400, "the body is not multipart/form-data")
    fields = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = re.search(rb'; *name="?([^";\r]+)', head)
        if name:
            fields[name[1].decode("utf-8", "replace")] = content
    return fields


def audio(file):
    """Samples between -1 and 1, and how many there are a second."""
    try:
        with wave.open(io.BytesIO(file)) as opened:
            if opened.getsampwidth() != 2:
                raise Refusal(400, "only WAV of 16 bits is read here", "file")
            rate, channels = opened.getframerate(), opened.getnchannels()
            samples = np.frombuffer(opened.readframes(opened.getnframes()), dtype="<i2")
    except (wave.Error, EOFError) as error:
        raise Refusal(400, f"the file is no WAV: {error}", "file") from error
    if len(samples) < SHORTEST_SECONDS * rate * channels:
        raise Refusal(400, "Audio file is too short. Minimum audio length is 0.1 seconds.", "file", "audio_too_short")
    return samples[::channels] / 32_768, rate


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        try:
            status, answer = 200, {"text": self.transcribe()}
        except Refusal as refusal:
            status, answer = refusal.status, refusal.body
        except Exception as error:
            status, answer = 500, Refusal(500, f"{type(error).__name__}: {error}").body
        body = json.dumps(answer, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def transcribe(self):
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
            # What is not read cannot be told from the next request.
            self.close_connection = True
            raise Refusal(413 if length.isdecimal() else 411, "the body has no length, or is too long")
        body = self.rfile.read(int(length))
        if self.path != "/v1/audio/transcriptions":
            raise Refusal(404, f"there is no {self.path} here")
        key = self.server.key
        if key and self.headers.get("authorization") != f"Bearer {key}":
            raise Refusal(401, "Incorrect API key provided.", code="invalid_api_key")
        fields = form(self.headers.get("content-type", ""), body)
        for name in ("file", "model"):
            if name not in fields:
                raise Refusal(400, f"Missing required parameter: '{name}'.", name)
        if fields.get("language", b"en") != b"en":
            raise Refusal(400, "this model knows English only", "language", "unsupported_language")
        if fields.get("response_format", b"json") != b"json":
            raise Refusal(400, "only response_format=json is answered here", "response_format")
        return self.server.recogniser.text(*audio(fields["file"]))

    def log_message(self, format, *args):
        """What a caller said is nobody's log line, and requests are counted by whoever asks."""


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", type=int, default=0, help="of loopback; 0 (the default) takes a free one")
    options.add_argument("--key", default="", help="the key to demand; none by default")
    options.add_argument("--threads", type=int, default=1, help="for one request")
    given = options.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", given.port), Handler)
    server.key, server.recogniser = given.key, Recogniser(given.threads)
    print(f"listening on http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
